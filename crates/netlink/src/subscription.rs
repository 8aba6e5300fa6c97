//! Listening for what the kernel does in its own time, on rtnetlink's connection and a tokio `current_thread` runtime.

use std::{os::fd::OwnedFd, pin::pin, time::Duration};

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
    io::AsyncReadExt,
    net::unix::pipe,
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

    /// Listens to what has been given to another process as well.
    pub fn hear(&self, answer: OwnedFd) -> Result<Elsewhere, Error> {
        let _entered = self.runtime.enter();
        let receiver = pipe::Receiver::from_owned_fd(answer);
        receiver.map(Elsewhere).map_err(|source| Error::io("listen to another process", source))
    }

    /// The next event, or whether the kernel has done what another process was given, whichever comes first.
    pub fn next_or(&mut self, work: &mut Elsewhere) -> Either<Result<Event, Error>, bool> {
        match self.runtime.block_on(select(self.events.next(), pin!(work.done()))) {
            Either::Left((heard, _)) => Either::Left(event(heard)),
            Either::Right((done, _)) => Either::Right(done),
        }
    }

    /// Waits for what another process was given.
    pub fn join(&self, mut work: Elsewhere) -> bool {
        self.runtime.block_on(work.done())
    }
}

/// A request that a process of its own has been given ([`Netlink::execute_apart`]), as the end of its pipe tells.
pub(crate) struct Elsewhere(pipe::Receiver);

impl Elsewhere {
    /// Whether the kernel has done it. If not, it was refused, or the process was killed.
    async fn done(&mut self) -> bool {
        self.0.read_u8().await.is_ok()
    }
}

fn event(heard: Option<NetlinkMessage<Packet>>) -> Result<Event, Error> {
    match heard.map(|message| message.payload) {
        None => Err(broken(&"wait for network events", "the netlink socket is closed")),
        Some(NetlinkPayload::InnerMessage(packet)) => Ok(Event::Change(packet)),
        Some(_) => Ok(Event::Overrun),
    }
}
