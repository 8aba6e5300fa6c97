//! Listening for what the kernel does in its own time, on rtnetlink's connection and a tokio `current_thread` runtime.

use std::{io, thread, time::Duration};

use futures_channel::oneshot;
use futures_util::{
    StreamExt,
    future::{Either, select},
};
use netlink_packet_core::{NetlinkMessage, NetlinkPayload};
use rtnetlink::{
    proto::{Connection, NetlinkCodec, from_socket_with_codec},
    sys::{AsyncSocket, SocketAddr, TokioSocket, protocols::NETLINK_ROUTE},
};
use tokio::{
    runtime::{Builder, Runtime},
    time::timeout,
};

use crate::{
    Error, Netlink,
    client::{broken, in_home},
    packet::Packet,
};

/// Events of the kernel, from the moment it was made until it is dropped.
pub(crate) struct Subscription {
    // Dropped first: its connection runs on the other.
    events: futures_util::stream::BoxStream<'static, NetlinkMessage<Packet>>,
    runtime: Runtime,
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

impl Netlink {
    /// A socket in the same namespace that hears of every change in the multicast groups given (`RTNLGRP_*`). Its own socket,
    /// because a burst of events may overflow it and must not take replies along.
    pub(crate) fn subscribe(&self, groups: &[u32]) -> Result<Subscription, Error> {
        let runtime = Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()
            .map_err(|source| Error::io("start the runtime for netlink events", source))?;
        let mut socket = in_home(self.home(), || {
            let _entered = runtime.enter();
            TokioSocket::new(NETLINK_ROUTE)
        })?;
        let mask = groups.iter().fold(0, |mask, group| mask | 1 << (group - 1));
        socket
            .socket_mut()
            .bind(&SocketAddr::new(0, mask))
            .map_err(|source| Error::io("subscribe to the kernel's network events", source))?;
        let (connection, _, events) = from_socket_with_codec(socket);
        let connection: Connection<Packet, TokioSocket, NetlinkCodec> = connection;
        runtime.spawn(connection);
        Ok(Subscription { runtime, events: events.map(|(message, _)| message).boxed() })
    }
}

impl Subscription {
    /// The next event, or that `deadline` is over.
    pub fn next(&mut self, deadline: Duration) -> Result<Event, Error> {
        let heard = async { timeout(deadline, self.events.next()).await.ok() };
        self.runtime.block_on(heard).map_or(Ok(Event::Deadline), event)
    }

    /// The next event, or what the work in the background has ended with, whichever comes first.
    pub fn next_or<T>(&mut self, work: &mut Background<T>) -> Either<Result<Event, Error>, Result<T, Error>> {
        match self.runtime.block_on(select(self.events.next(), &mut work.0)) {
            Either::Left((heard, _)) => Either::Left(event(heard)),
            Either::Right((ended, _)) => Either::Right(outcome(ended)),
        }
    }

    /// Waits for the work in the background.
    pub fn join<T>(&self, work: Background<T>) -> Result<T, Error> {
        outcome(self.runtime.block_on(work.0))
    }
}

/// Work on another thread that one can wait for beside events.
pub(crate) struct Background<T>(oneshot::Receiver<Result<T, Error>>);

impl<T: Send + 'static> Background<T> {
    /// Begins with it.
    ///
    /// # Errors
    /// When no thread can be started: nothing has been done.
    pub fn start(work: impl FnOnce() -> Result<T, Error> + Send + 'static) -> io::Result<Background<T>> {
        let (sender, receiver) = oneshot::channel();
        let work = move || drop(sender.send(work()));
        thread::Builder::new().name("netlink".to_owned()).spawn(work)?;
        Ok(Background(receiver))
    }
}

fn outcome<T>(ended: Result<Result<T, Error>, oneshot::Canceled>) -> Result<T, Error> {
    ended.unwrap_or_else(|_| Err(broken(&"work beside the kernel's events", "its thread panicked")))
}

fn event(heard: Option<NetlinkMessage<Packet>>) -> Result<Event, Error> {
    match heard.map(|message| message.payload) {
        None => Err(broken(&"wait for network events", "the netlink socket is closed")),
        Some(NetlinkPayload::InnerMessage(packet)) => Ok(Event::Change(packet)),
        Some(_) => Ok(Event::Overrun),
    }
}
