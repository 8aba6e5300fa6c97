//! The replies of a kernel made up for the purpose.

use std::num::NonZero;

use netlink_packet_core::{DoneMessage, ErrorMessage, NLM_F_MULTIPART, NetlinkHeader};

use super::*;

type Reply = NetlinkMessage<Packet>;

fn reply(flags: u16, payload: NetlinkPayload<Packet>) -> Reply {
    let mut header = NetlinkHeader::default();
    header.flags = flags;
    NetlinkMessage::new(header, payload)
}

fn object(kind: u16, flags: u16) -> Reply {
    reply(flags, NetlinkPayload::InnerMessage(Packet { kind, body: Vec::new() }))
}

fn done(flags: u16, code: i32) -> Reply {
    let mut done = DoneMessage::default();
    done.code = code;
    reply(flags, NetlinkPayload::Done(done))
}

fn ack(code: i32) -> Reply {
    let mut ack = ErrorMessage::default();
    ack.code = NonZero::new(code);
    reply(0, NetlinkPayload::Error(ack))
}

fn read(replies: Vec<Reply>) -> (Result<Listing, Error>, Vec<u16>) {
    let mut kinds = Vec::new();
    let result = collect(replies.into_iter().map(Ok), &"ask", |packet| kinds.push(packet.kind));
    (result, kinds)
}

#[test]
fn a_listing_ends_at_done_and_is_whole() {
    let (result, kinds) = read(vec![object(1, NLM_F_MULTIPART), object(2, NLM_F_MULTIPART), done(0, 0)]);
    assert_eq!((result.unwrap(), kinds), (Listing::Whole, vec![1, 2]));
}

#[test]
fn an_interruption_shows_in_any_message_and_in_the_last_alone() {
    let (result, _) = read(vec![object(1, NLM_F_DUMP_INTR), object(2, 0), done(0, 0)]);
    assert_eq!(result.unwrap(), Listing::Interrupted);
    let (result, _) = read(vec![object(1, 0), done(NLM_F_DUMP_INTR, 0)]);
    assert_eq!(result.unwrap(), Listing::Interrupted);
}

#[test]
fn errors_come_from_the_acknowledgement_and_from_the_end_of_a_listing() {
    assert!(read(vec![ack(-libc::EEXIST)]).0.unwrap_err().is_exists());
    assert!(read(vec![object(1, 0), done(0, -libc::ENODEV)]).0.unwrap_err().is_not_found());
    assert_eq!(read(vec![ack(0)]).0.unwrap(), Listing::Whole);
}

#[test]
fn silence_is_an_error_and_one_object_an_answer() {
    let error = read(vec![]).0.unwrap_err().to_string();
    assert!(error.contains("cannot ask: the kernel did not answer"), "{error}");
    assert_eq!(read(vec![object(1, 0)]).0.unwrap(), Listing::Whole);
    assert!(read(vec![reply(0, NetlinkPayload::Overrun(Vec::new()))]).0.is_err());
}

#[test]
fn a_listing_is_read_until_it_is_whole_and_not_for_ever() {
    let mut left = 3;
    let read = || {
        left -= 1;
        match left {
            2 => Ok((Listing::Interrupted, "partial")),
            1 => Err(Error::Kernel(Refusal { operation: String::new(), errno: libc::EINTR, detail: None })),
            _ => Ok((Listing::Whole, "whole")),
        }
    };
    assert_eq!(until_whole(&"list", read).unwrap(), "whole");

    let mut attempts = 0;
    let error = until_whole(&"list the links", || {
        attempts += 1;
        Ok((Listing::Interrupted, ()))
    });
    assert!(matches!(&error, Err(Error::Busy(_))), "{error:?}");
    assert_eq!(attempts, DUMP_ATTEMPTS);
}
