//! Which way the kernel would send a packet (`RTM_GETROUTE` for one address).

use std::net::IpAddr;

use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    route::{RouteAddress, RouteAttribute, RouteMessage},
};
use nix::libc;

use crate::{Error, Netlink, packet::Packet, route};

/// How an address is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Way {
    /// Whether it is one of the node's own (`RTN_LOCAL`).
    pub local: bool,
    /// The index of the interface it is on the link of; `None` where it is behind a router.
    pub on_link: Option<u32>,
}

impl Netlink {
    /// The way to an address; `None` when there is none.
    ///
    /// # Errors
    /// The kernel's, but those that mean that there is no way.
    pub fn way_to(&self, address: IpAddr) -> Result<Option<Way>, Error> {
        self.way_over(address, None)
    }

    /// Whether packets to an address reach this host by the interface, as its rules and tables have it.
    pub(crate) fn is_local(&self, address: IpAddr, index: u32) -> Result<bool, Error> {
        Ok(self.way_over(address, Some(index))?.is_some_and(|way| way.local))
    }

    fn way_over(&self, address: IpAddr, oif: Option<u32>) -> Result<Option<Way>, Error> {
        let mut message = RouteMessage::default();
        message.header.address_family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
        message.header.destination_prefix_length = if address.is_ipv4() { 32 } else { 128 };
        message.attributes.push(RouteAttribute::Destination(RouteAddress::from(address)));
        message.attributes.extend(oif.map(RouteAttribute::Oif));
        match self.fetch(&RouteNetlinkMessage::GetRoute(message), &format_args!("look for the way to {address}")) {
            Ok(packet) => Ok(Some(parse(&packet))),
            // EACCES and EINVAL: a route that prohibits it, or drops it.
            Err(Error::Kernel(refusal))
                if matches!(refusal.errno, libc::ENETUNREACH | libc::EHOSTUNREACH | libc::EACCES | libc::EINVAL) =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

fn parse(packet: &Packet) -> Way {
    let attribute = |kind| packet.attributes(route::HEADER).find(|attribute| attribute.kind == kind);
    let routed = attribute(libc::RTA_GATEWAY).or_else(|| attribute(route::RTA_VIA)).is_some();
    let oif = attribute(libc::RTA_OIF).and_then(|oif| oif.u32());
    Way { local: packet.u8_at(7) == Some(libc::RTN_LOCAL), on_link: oif.filter(|_| !routed) }
}
