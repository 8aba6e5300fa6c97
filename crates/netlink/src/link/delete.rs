//! Deleting interfaces.

use futures_util::future::Either;
use netlink_packet_route::{RouteNetlinkMessage, link::LinkMessage};
use nix::libc;

use super::LinkRef;
use crate::{
    Error, Netlink,
    packet::Packet,
    subscription::{Background, Event},
    wait::RTNLGRP_LINK,
};

/// `IFLA_IFNAME`.
const IFNAME: u16 = 3;

impl Netlink {
    /// Deletes an interface; a veth's far end goes with it. `false` where there was none.
    ///
    /// # Errors
    /// What the kernel refuses: `Operation not supported` for hardware, for example.
    pub fn delete_link<'a>(&self, link: impl Into<LinkRef<'a>>) -> Result<bool, Error> {
        let link = link.into();
        let mut message = LinkMessage::default();
        link.apply(&mut message)?;
        match self.execute(&RouteNetlinkMessage::DelLink(message), 0, &format_args!("delete interface {link}")) {
            Ok(()) => Ok(true),
            Err(Error::NotFound(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Deletes the interface called `name`, and runs `then` as soon as it is gone: it passes no packet any more and nobody
    /// finds it. The kernel takes 15 to 25 ms more to free it (`netdev_run_todo`), in which this call would only wait.
    /// `None` where there was no such interface; `then` is not run, nor if the kernel refuses.
    ///
    /// # Errors
    /// As [`Netlink::delete_link`].
    pub fn delete_link_then<T>(&self, name: &str, then: impl FnOnce() -> T) -> Result<Option<T>, Error> {
        let mut events = self.subscribe(&[RTNLGRP_LINK])?;
        // The kernel does all of it within `send`: on a thread, with a socket of its own.
        let (socket, link) = (Netlink::open(self.home().cloned())?, name.to_owned());
        let Ok(mut deleting) = Background::start(move || socket.delete_link(&*link)) else {
            // A node that has no thread left for us: one after the other.
            return Ok(self.delete_link(name)?.then(then));
        };
        loop {
            match events.next_or(&mut deleting) {
                Either::Right(deleted) => return Ok(deleted?.then(then)),
                Either::Left(Ok(Event::Change(packet))) if !tells_of_the_end(&packet, name) => {}
                Either::Left(Ok(Event::Change(_))) => break,
                // What was lost there is told by the answer in the end.
                Either::Left(_) => return Ok(events.join(deleting)?.then(then)),
            }
        }
        let done = then();
        events.join(deleting).map(|_| Some(done))
    }
}

/// `RTM_DELLINK` of the interface itself; a port that leaves its bridge is told of in the same way (`AF_BRIDGE`).
fn tells_of_the_end(packet: &Packet, name: &str) -> bool {
    packet.kind == libc::RTM_DELLINK
        && packet.u8_at(0) == Some(libc::AF_UNSPEC as u8)
        && packet.attributes(16).any(|attribute| attribute.kind == IFNAME && attribute.text() == name)
}
