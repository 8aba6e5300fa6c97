//! Waiting for what the kernel does later, by its own notifications.

use std::{
    net::Ipv6Addr,
    time::{Duration, Instant},
};

use nix::libc;

use crate::{Address, Error, Link, Netlink, OperState, PortState, Refusal, subscription::Event};

/// Multicast groups of rtnetlink (`enum rtnetlink_groups`).
pub(crate) const RTNLGRP_LINK: u32 = 1;
const RTNLGRP_IPV6_IFADDR: u32 = 9;
const RTNLGRP_IPV6_ROUTE: u32 = 11;

impl Netlink {
    /// Waits until a port of a bridge carries packets: its link is up, and the bridge has switched the port on.
    /// (A bridge that runs spanning tree lets packets pass some seconds later still; that is not waited for.)
    ///
    /// # Errors
    /// As [`Netlink::wait_link`].
    pub fn wait_port_up(&self, index: u32, deadline: Duration) -> Result<Link, Error> {
        self.wait_link(index, "it to be up as a port of its bridge", deadline, |link| {
            link.oper_state == OperState::Up && link.port.as_ref().is_some_and(|port| port.state != PortState::Disabled)
        })
    }

    /// Waits until an interface is as `reached` wants it, and returns it. `what` completes "waited for ...".
    ///
    /// # Errors
    /// [`Error::Timeout`] after `deadline`, with the last state seen; [`Error::NotFound`] where the interface is not,
    /// or no longer, there.
    pub fn wait_link(
        &self,
        index: u32,
        what: &str,
        deadline: Duration,
        reached: impl Fn(&Link) -> bool,
    ) -> Result<Link, Error> {
        let read = || match self.link(index)? {
            Some(link) if reached(&link) => Ok(Step::Reached(link)),
            Some(link) => Ok(Step::NotYet(format!(
                "{} is {}, {:?}, master {:?}, port {:?}",
                link.name,
                if link.up { "on" } else { "off" },
                link.oper_state,
                link.master,
                link.port.map(|port| port.state)
            ))),
            None => Err(gone(index)),
        };
        self.wait(index, &[RTNLGRP_LINK], deadline, || format!("interface #{index}: {what}"), read)
    }

    /// Waits until duplicate address detection has finished for every address of an interface, and returns them.
    ///
    /// # Errors
    /// [`Error::AddressConflict`] where another host has one of them; [`Error::Timeout`]; [`Error::NotFound`].
    pub fn wait_addresses_settled(&self, index: u32, deadline: Duration) -> Result<Vec<Address>, Error> {
        let read = || {
            let addresses = self.addresses(index)?;
            if let Some(failed) = addresses.iter().find(|address| address.dad_failed) {
                return Err(Error::AddressConflict { address: failed.network.ip(), index });
            }
            let tentative: Vec<_> = addresses
                .iter()
                .filter(|address| address.tentative)
                .map(|address| address.network.to_string())
                .collect();
            if tentative.is_empty() {
                Ok(Step::Reached(addresses))
            } else {
                Ok(Step::NotYet(format!("{} still tentative", tentative.join(", "))))
            }
        };
        // The link's own group as well: its end, or its carrier's, ends the detection without a word about addresses.
        let groups = [RTNLGRP_LINK, RTNLGRP_IPV6_IFADDR];
        let awaited = || format!("interface #{index}: duplicate address detection to finish");
        self.wait(index, &groups, deadline, awaited, read)
    }

    /// Waits until the host answers to IPv6 addresses of an interface that it has just been given. The kernel says that it has
    /// an address before it does: the group in which neighbours ask for it is joined, and the route by which its packets
    /// are delivered is made, by a work queue that waits for the lock of all network changes.
    ///
    /// # Errors
    /// [`Error::Timeout`] with the address that is not answered to; the kernel's.
    pub fn wait_addresses_local(&self, index: u32, addresses: &[Ipv6Addr], deadline: Duration) -> Result<(), Error> {
        let read = || {
            for address in addresses {
                if !self.is_local((*address).into(), index)? {
                    return Ok(Step::NotYet(format!("no local route to {address}")));
                }
            }
            Ok(Step::Reached(()))
        };
        let awaited = || format!("interface #{index}: the kernel to answer to its addresses");
        self.wait(index, &[RTNLGRP_LINK, RTNLGRP_IPV6_ROUTE], deadline, awaited, read)
    }

    fn wait<T>(
        &self,
        index: u32,
        groups: &[u32],
        deadline: Duration,
        awaited: impl Fn() -> String,
        read: impl Fn() -> Result<Step<T>, Error>,
    ) -> Result<T, Error> {
        let end = Instant::now() + deadline;
        // Mostly it has happened already, and the second socket is not needed.
        if let Step::Reached(state) = read()? {
            return Ok(state);
        }
        // From here on no change can pass unseen: it comes before the state is read, or is heard.
        let mut events = self.subscribe(groups)?;
        loop {
            let last = match read()? {
                Step::Reached(state) => return Ok(state),
                Step::NotYet(last) => last,
            };
            loop {
                match events.next(end.saturating_duration_since(Instant::now()))? {
                    Event::Change(packet) if packet.interface().is_some_and(|other| other != index) => {}
                    Event::Change(_) | Event::Overrun => break,
                    Event::Deadline => return Err(Error::Timeout { awaited: awaited(), waited: deadline, last }),
                }
            }
        }
    }
}

/// What reading the state says.
enum Step<T> {
    Reached(T),
    NotYet(String),
}

fn gone(index: u32) -> Error {
    Error::NotFound(Refusal { operation: format!("wait for interface #{index}"), errno: libc::ENODEV, detail: None })
}
