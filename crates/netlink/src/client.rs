//! The one path to the kernel: every request, dump and subscription of this crate goes through here.
//!
//! A plugin is sequential, so the calls block. Underneath is netlink-proto on a tokio `current_thread` runtime; a
//! batched or plainly blocking path would replace this file alone.

use std::{fmt, future::Future, io, time::Duration};

use futures_util::StreamExt;
use netlink_packet_core::{NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use nix::libc;
use rtnetlink::{
    proto::{Connection, ConnectionHandle, NetlinkCodec, from_socket_with_codec},
    sys::{AsyncSocket, SocketAddr, TokioSocket, protocols::NETLINK_ROUTE},
};
use tokio::{
    runtime::{Builder, Runtime},
    task::JoinHandle,
    time::timeout,
};

use crate::{Error, Namespace, Refusal, packet::Packet};

/// The kernel answers while `sendto` still runs, so this only bounds what a lost reply can cost.
const REPLY_DEADLINE: Duration = Duration::from_secs(30);

/// How often a dump is read again that changed under our hands. Each pass reads everything, so a node where this is
/// not enough has another problem, and the error says so.
const DUMP_ATTEMPTS: usize = 64;

/// A netlink socket bound to one network namespace.
///
/// All calls block, and can be made from several threads; they must not be made from inside an async runtime. A `Netlink` from [`Netlink::new`] belongs to
/// the namespace of the thread that made it: for another one use [`Namespace::netlink`], not `new` inside
/// [`Namespace::run`].
pub struct Netlink {
    handle: ConnectionHandle<Packet>,
    runtime: Runtime,
    home: Option<Namespace>,
}

type Socket = Connection<Packet, TokioSocket, NetlinkCodec>;
type Messages<T> = futures_util::stream::BoxStream<'static, T>;

impl Netlink {
    /// A socket in the calling thread's namespace.
    ///
    /// # Errors
    /// [`Error::Io`] where the system gives no socket (too many open files, a seccomp filter).
    pub fn new() -> Result<Netlink, Error> {
        Netlink::open(None)
    }

    pub(crate) fn open(home: Option<Namespace>) -> Result<Netlink, Error> {
        let runtime = Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()
            .map_err(|source| Error::io("start the runtime for netlink", source))?;
        let mut socket = open_socket(&runtime, home.as_ref())?;
        let options = socket.socket_mut();
        // A kernel that lacks one of these (before 4.20) answers as well, with fewer words and more replies: every
        // filter is applied once more on our side.
        let _ = options.set_ext_ack(true);
        let _ = options.set_cap_ack(true);
        let _ = options.set_netlink_get_strict_chk(true);
        let (mut connection, handle, _) = from_socket_with_codec(socket);
        // Without these the end of the replies and the end of the connection look the same.
        connection.set_forward_ack(true);
        connection.set_forward_done(true);
        runtime.spawn(connection as Socket);
        Ok(Netlink { handle, runtime, home })
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
        request: NetlinkMessage<Packet>,
        operation: &dyn fmt::Display,
        each: impl FnMut(Packet),
    ) -> Result<Listing, Error> {
        let replies = self
            .handle
            .request(request, SocketAddr::new(0, 0))
            .map_err(|_| broken(operation, "the netlink socket is closed"))?;
        self.block_on(REPLY_DEADLINE, collect(replies, operation, each)).unwrap_or_else(|| {
            Err(Error::Timeout {
                awaited: format!("the kernel's answer to: {operation}"),
                waited: REPLY_DEADLINE,
                last: "none".to_owned(),
            })
        })
    }

    /// `None` when the time is over first.
    pub(crate) fn block_on<F: Future>(&self, deadline: Duration, future: F) -> Option<F::Output> {
        self.runtime.block_on(async { timeout(deadline, future).await.ok() })
    }

    /// Waits for something that has a deadline of its own.
    pub(crate) fn until<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }

    /// Runs `work` on another thread, from now on.
    pub(crate) fn in_background<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        self.runtime.spawn_blocking(work)
    }

    /// Another one in the same namespace, for another thread.
    pub(crate) fn again(&self) -> Result<Netlink, Error> {
        Netlink::open(self.home.clone())
    }

    /// A second socket in the same namespace that hears of every change in the multicast groups given (`RTNLGRP_*`).
    /// Its own socket, because a burst of events may overflow it and must not take replies along.
    pub(crate) fn subscribe(&self, groups: &[u32]) -> Result<Subscription<'_>, Error> {
        let mut socket = open_socket(&self.runtime, self.home.as_ref())?;
        let mask = groups.iter().fold(0, |mask, group| mask | 1 << (group - 1));
        socket
            .socket_mut()
            .bind(&SocketAddr::new(0, mask))
            .map_err(|source| Error::io("subscribe to the kernel's network events", source))?;
        let (connection, _handle, events) = from_socket_with_codec(socket);
        let task = self.runtime.spawn(connection as Socket);
        Ok(Subscription { netlink: self, task, events: events.map(|(message, _)| message).boxed() })
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

async fn collect(
    mut replies: impl futures_util::Stream<Item = NetlinkMessage<Packet>> + Unpin,
    operation: &dyn fmt::Display,
    mut each: impl FnMut(Packet),
) -> Result<Listing, Error> {
    let mut listing = Listing::Whole;
    let mut answered = false;
    while let Some(reply) = replies.next().await {
        let (header, payload) = reply.into_parts();
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
            _ => return Err(broken(operation, "the kernel's answer was lost (socket buffer overrun)")),
        }
        answered = true;
    }
    // A request for one object has no acknowledgement: its answer is the end.
    if answered { Ok(listing) } else { Err(broken(operation, "the netlink socket closed before the kernel answered")) }
}

fn broken(operation: &dyn fmt::Display, why: &str) -> Error {
    Error::io(operation.to_string(), io::Error::other(why.to_owned()))
}

/// A netlink socket stays in the namespace it was opened in; the runtime only registers the descriptor.
fn open_socket(runtime: &Runtime, home: Option<&Namespace>) -> Result<TokioSocket, Error> {
    let open = || {
        let _entered = runtime.enter();
        TokioSocket::new(NETLINK_ROUTE)
    };
    match home {
        None => open(),
        Some(namespace) => namespace.visit(open)?,
    }
    .map_err(|source| Error::io("open a netlink socket", source))
}

/// Events of the kernel, from the moment it was made until it is dropped.
pub(crate) struct Subscription<'a> {
    netlink: &'a Netlink,
    task: JoinHandle<()>,
    events: Messages<NetlinkMessage<Packet>>,
}

/// What a subscription heard.
pub(crate) enum Event {
    /// A change, as the kernel describes it.
    Change(Packet),
    /// Events were lost; only the state itself can tell what happened.
    Overrun,
    /// The time is over.
    Deadline,
}

impl Subscription<'_> {
    pub fn next(&mut self, deadline: Duration) -> Result<Event, Error> {
        self.netlink.block_on(deadline, self.events.next()).map_or(Ok(Event::Deadline), event)
    }

    /// The same with no deadline.
    pub async fn heard(&mut self) -> Result<Event, Error> {
        event(self.events.next().await)
    }
}

fn event(heard: Option<NetlinkMessage<Packet>>) -> Result<Event, Error> {
    match heard.map(|message| message.payload) {
        None => Err(broken(&"wait for network events", "the netlink socket is closed")),
        Some(NetlinkPayload::InnerMessage(packet)) => Ok(Event::Change(packet)),
        Some(_) => Ok(Event::Overrun),
    }
}

impl Drop for Subscription<'_> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[cfg(test)]
mod tests;
