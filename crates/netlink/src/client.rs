//! The one path to the kernel: every request and dump of this crate goes through here.
//!
//! A plugin is sequential, so the calls block, and the kernel answers a request while it is being sent: a plain socket is all
//! that is needed. What takes the kernel time is listened for on a socket of its own (`subscription.rs`).

use std::{
    fmt, io,
    sync::{Mutex, PoisonError},
};

use netlink_packet_core::{NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use nix::libc;
use rtnetlink::sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

use crate::{Error, Namespace, Refusal, packet::Packet};

/// How often a dump is read again that changed under our hands. Each pass reads everything, so a node where this is
/// not enough has another problem, and the error says so.
const DUMP_ATTEMPTS: usize = 64;

/// The kernel never builds a longer answer: a dump comes in parts of at most 32 KiB, and one object fits one part.
const RECEIVE_BUFFER: usize = 64 * 1024;

/// A netlink socket bound to one network namespace.
///
/// All calls block, and can be made from several threads, of which one waits for the other. A `Netlink` from
/// [`Netlink::new`] belongs to the namespace of the thread that made it: for another one use [`Namespace::netlink`], not
/// `new` inside [`Namespace::run`].
pub struct Netlink {
    channel: Mutex<Channel>,
    home: Option<Namespace>,
}

/// The socket, and what one request at a time needs.
struct Channel {
    socket: Socket,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Netlink {
    /// A socket in the calling thread's namespace.
    ///
    /// # Errors
    /// [`Error::Io`] where the system gives no socket (too many open files, a seccomp filter).
    pub fn new() -> Result<Netlink, Error> {
        Netlink::open(None)
    }

    pub(crate) fn open(home: Option<Namespace>) -> Result<Netlink, Error> {
        let socket = in_home(home.as_ref(), || Socket::new(NETLINK_ROUTE))?;
        socket.connect(&SocketAddr::new(0, 0)).map_err(|source| Error::io("connect a netlink socket", source))?;
        // A kernel that lacks one of these (before 4.20) answers as well, with fewer words and more replies: every
        // filter is applied once more on our side.
        let _ = socket.set_ext_ack(true);
        let _ = socket.set_cap_ack(true);
        let _ = socket.set_netlink_get_strict_chk(true);
        let channel = Channel { socket, sequence: 0, buffer: Vec::with_capacity(RECEIVE_BUFFER) };
        Ok(Netlink { channel: Mutex::new(channel), home })
    }

    /// The namespace it belongs to, where that is not the process's own.
    pub(crate) fn home(&self) -> Option<&Namespace> {
        self.home.as_ref()
    }

    /// Makes one change and waits until the kernel has confirmed it.
    pub(crate) fn execute(
        &self,
        message: &RouteNetlinkMessage,
        flags: u16,
        operation: &dyn fmt::Display,
    ) -> Result<(), Error> {
        self.exchange(Packet::request(message, NLM_F_REQUEST | NLM_F_ACK | flags), operation, |_| ()).map(|_| ())
    }

    /// Asks for one object. An object that is not there is [`Error::NotFound`].
    pub(crate) fn fetch(&self, message: &RouteNetlinkMessage, operation: &dyn fmt::Display) -> Result<Packet, Error> {
        self.query(message, 0, operation)?.ok_or_else(|| broken(operation, "the kernel's answer holds nothing"))
    }

    /// The same with `NLM_F_*` flags, for a question that may be answered by an acknowledgement alone: `None`.
    pub(crate) fn query(
        &self,
        message: &RouteNetlinkMessage,
        flags: u16,
        operation: &dyn fmt::Display,
    ) -> Result<Option<Packet>, Error> {
        let mut found = None;
        self.exchange(Packet::request(message, NLM_F_REQUEST | flags), operation, |packet| found = Some(packet))?;
        Ok(found)
    }

    /// Asks for all objects of a kind, each read by `parse`; those it gives `None` for are left out. A listing that
    /// changed while the kernel wrote it (`NLM_F_DUMP_INTR`) may lack objects that were there all the time, so it
    /// is read again.
    pub(crate) fn dump<T>(
        &self,
        message: &RouteNetlinkMessage,
        operation: &dyn fmt::Display,
        mut parse: impl FnMut(&Packet) -> Option<T>,
    ) -> Result<Vec<T>, Error> {
        until_whole(operation, || {
            let mut objects = Vec::new();
            let request = Packet::request(message, NLM_F_REQUEST | NLM_F_DUMP);
            let listing = self.exchange(request, operation, |packet| objects.extend(parse(&packet)))?;
            Ok((listing, objects))
        })
    }

    fn exchange(
        &self,
        mut request: NetlinkMessage<Packet>,
        operation: &dyn fmt::Display,
        each: impl FnMut(Packet),
    ) -> Result<Listing, Error> {
        // A panic in between left at most replies that nobody asked for, which the next request passes over.
        let mut channel = self.channel.lock().unwrap_or_else(PoisonError::into_inner);
        channel.sequence = channel.sequence.wrapping_add(1);
        request.header.sequence_number = channel.sequence;
        request.finalize();
        let mut bytes = vec![0; request.buffer_len()];
        request.serialize(&mut bytes);
        channel.send(&bytes).map_err(|source| Error::io(operation.to_string(), source))?;
        collect(Replies { channel: &mut channel, unread: 0..0 }, operation, each)
    }
}

impl Channel {
    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        loop {
            match self.socket.send(bytes, 0) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                sent => return sent.map(drop),
            }
        }
    }

    /// The next datagram. The kernel has answered before `send` returns and continues a dump within `recv`, so there is never
    /// anything to wait for: no datagram (`None`) means that it has said all it will.
    fn receive(&mut self) -> io::Result<Option<usize>> {
        loop {
            // Of the memory only what is written to is ever touched.
            self.buffer.clear();
            match self.socket.recv(&mut self.buffer, libc::MSG_DONTWAIT | libc::MSG_TRUNC) {
                Ok(length) if length > self.buffer.len() => {
                    return Err(io::Error::other(format!("an answer of {length} bytes does not fit the buffer")));
                }
                Ok(length) => return Ok(Some(length)),
                Err(error) => match error.kind() {
                    io::ErrorKind::Interrupted => {}
                    io::ErrorKind::WouldBlock => return Ok(None),
                    _ => return Err(error),
                },
            }
        }
    }
}

/// The replies to the request that was sent last.
struct Replies<'a> {
    channel: &'a mut Channel,
    /// What of the buffer has not been read.
    unread: std::ops::Range<usize>,
}

impl Replies<'_> {
    fn read(&mut self) -> io::Result<Option<NetlinkMessage<Packet>>> {
        loop {
            if self.unread.is_empty() {
                let Some(length) = self.channel.receive()? else { return Ok(None) };
                self.unread = 0..length;
            }
            let rest = self.channel.buffer.get(self.unread.clone()).unwrap_or_default();
            let length = rest.first_chunk().map_or(0, |length| u32::from_ne_bytes(*length) as usize);
            let message = rest.get(..length).ok_or_else(|| io::Error::other("the kernel's answer is cut off"))?;
            self.unread.start += length.next_multiple_of(4).max(4);
            self.unread.end = self.unread.end.max(self.unread.start);
            let message = NetlinkMessage::deserialize(message).map_err(io::Error::other)?;
            // An error may have left the rest of an earlier answer.
            if message.header.sequence_number == self.channel.sequence {
                return Ok(Some(message));
            }
        }
    }
}

impl Iterator for Replies<'_> {
    type Item = io::Result<NetlinkMessage<Packet>>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read().transpose()
    }
}

impl fmt::Debug for Netlink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Netlink").field("home", &self.home).finish_non_exhaustive()
    }
}

/// Reads a listing again until nothing changed while it was read.
fn until_whole<T>(
    operation: &dyn fmt::Display,
    mut read: impl FnMut() -> Result<(Listing, T), Error>,
) -> Result<T, Error> {
    for _ in 0..DUMP_ATTEMPTS {
        match read() {
            Ok((Listing::Whole, objects)) => return Ok(objects),
            Ok((Listing::Interrupted, _)) => {}
            Err(Error::Kernel(refusal)) if refusal.errno == libc::EINTR => {}
            Err(error) => return Err(error),
        }
    }
    let operation = operation.to_string();
    let detail = Some(format!("it changed during each of {DUMP_ATTEMPTS} attempts; try again"));
    Err(Error::Busy(Refusal { operation, errno: libc::EBUSY, detail }))
}

/// Whether a listing is one moment's state.
#[derive(Debug, PartialEq, Eq)]
enum Listing {
    Whole,
    Interrupted,
}

fn collect(
    replies: impl Iterator<Item = io::Result<NetlinkMessage<Packet>>>,
    operation: &dyn fmt::Display,
    mut each: impl FnMut(Packet),
) -> Result<Listing, Error> {
    let mut listing = Listing::Whole;
    let mut answered = false;
    for reply in replies {
        let (header, payload) = reply.map_err(|source| Error::io(operation.to_string(), source))?.into_parts();
        if header.flags & NLM_F_DUMP_INTR != 0 {
            listing = Listing::Interrupted;
        }
        match payload {
            NetlinkPayload::InnerMessage(packet) => each(packet),
            NetlinkPayload::Error(ack) => match ack.code {
                None => return Ok(listing),
                Some(code) => {
                    return Err(Error::refused(Refusal::from_ack(operation, header.flags, code.get(), &ack.header)));
                }
            },
            NetlinkPayload::Done(done) if done.code < 0 => {
                return Err(Error::refused(Refusal::from_done(operation, done.code, &done.extended_ack)));
            }
            NetlinkPayload::Done(_) => return Ok(listing),
            _ => return Err(broken(operation, "the kernel answered with something else")),
        }
        answered = true;
    }
    // A request for one object has no acknowledgement: its answer is the end.
    if answered { Ok(listing) } else { Err(broken(operation, "the kernel did not answer")) }
}

pub(crate) fn broken(operation: &dyn fmt::Display, why: &str) -> Error {
    Error::io(operation.to_string(), io::Error::other(why.to_owned()))
}

/// Runs `open` in a namespace: a netlink socket stays in the one it was opened in.
pub(crate) fn in_home<T>(home: Option<&Namespace>, open: impl FnOnce() -> io::Result<T>) -> Result<T, Error> {
    let opened = match home {
        None => open(),
        Some(namespace) => namespace.visit(open)?,
    };
    opened.map_err(|source| Error::io("open a netlink socket", source))
}

#[cfg(test)]
mod tests;
