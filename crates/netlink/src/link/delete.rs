//! Deleting interfaces.

use futures_util::future::Either;
use netlink_packet_route::{RouteNetlinkMessage, link::LinkMessage};
use nix::libc;

use super::LinkRef;
use crate::{Error, Netlink, packet::Packet, subscription::Event, wait::RTNLGRP_LINK};

/// `IFLA_IFNAME`.
const IFNAME: u16 = 3;

impl Netlink {
    /// Deletes an interface; a veth's far end goes with it. `false` where there was none.
    ///
    /// # Errors
    /// What the kernel refuses: `Operation not supported` for hardware, for example.
    pub fn delete_link<'a>(&self, link: impl Into<LinkRef<'a>>) -> Result<bool, Error> {
        let link = link.into();
        match self.execute(&deletion(link)?, 0, &format_args!("delete interface {link}")) {
            Ok(()) => Ok(true),
            Err(Error::NotFound(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Deletes the interface called `name`, and comes back as soon as it is gone: it passes no packet any more, nobody finds
    /// it, and its name is free. The kernel takes 15 to 25 ms more to free it (`netdev_run_todo`), in which there is nothing to
    /// do but to wait, and a process of its own does that. `false` where there was no such interface.
    ///
    /// # Errors
    /// As [`Netlink::delete_link`].
    pub fn delete_link_early(&self, name: &str) -> Result<bool, Error> {
        let mut events = self.subscribe(&[RTNLGRP_LINK])?;
        let socket = Netlink::open(self.home().cloned())?;
        // A node that has no process left for us: we wait.
        let Ok(answer) = socket.execute_apart(&deletion(name.into())?) else { return self.delete_link(name) };
        let mut deleting = events.hear(answer)?;
        let done = loop {
            match events.next_or(&mut deleting) {
                Either::Right(done) => break done,
                Either::Left(Ok(Event::Change(packet))) if !tells_of_the_end(&packet, name) => {}
                Either::Left(Ok(Event::Change(_))) => break true,
                // What was lost there is told by the answer in the end.
                Either::Left(_) => break events.join(deleting),
            }
        };
        // Refused, or the process was killed before it came to it: what the kernel says to us can be passed on.
        if done { Ok(true) } else { self.delete_link(name) }
    }
}

fn deletion(link: LinkRef<'_>) -> Result<RouteNetlinkMessage, Error> {
    let mut message = LinkMessage::default();
    link.apply(&mut message)?;
    Ok(RouteNetlinkMessage::DelLink(message))
}

/// `RTM_DELLINK` of the interface itself; a port that leaves its bridge is told of in the same way (`AF_BRIDGE`).
fn tells_of_the_end(packet: &Packet, name: &str) -> bool {
    packet.kind == libc::RTM_DELLINK
        && packet.u8_at(0) == Some(libc::AF_UNSPEC as u8)
        && packet.attributes(16).any(|attribute| attribute.kind == IFNAME && attribute.text() == name)
}
