//! Addresses of interfaces.

use std::net::{IpAddr, Ipv4Addr};

use ipnetwork::{IpNetwork, Ipv4Network};
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::{AddressAttribute, AddressFlags, AddressMessage},
};
use nix::libc;

use crate::{Error, Netlink, packet::Packet};

/// The length of `struct ifaddrmsg`.
const HEADER: usize = 8;

/// An address of an interface (`RTM_NEWADDR`).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Address {
    /// The host's own address with the prefix length of its network: `10.22.0.5/16`.
    pub network: IpNetwork,
    /// The scope (`RT_SCOPE_*`): 0 universe, 253 link, 254 host.
    pub scope: u8,
    /// Duplicate address detection still runs: nothing can be bound to it yet (`IFA_F_TENTATIVE`).
    pub tentative: bool,
    /// Another host on the link has the address: it is unusable (`IFA_F_DADFAILED`).
    pub dad_failed: bool,
    /// It was set by someone, not learnt with a lifetime (`IFA_F_PERMANENT`).
    pub permanent: bool,
    /// Not the first IPv4 address of its network on the interface (`IFA_F_SECONDARY`); for IPv6, a temporary one.
    pub secondary: bool,
}

/// An address to set on an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewAddress {
    /// The host's own address with the prefix length of its network.
    pub network: IpNetwork,
    /// Whether to use it without asking the link whether someone has it (`IFA_F_NODAD`, IPv6 only).
    pub nodad: bool,
}

impl Netlink {
    /// The addresses of one interface, of both families.
    ///
    /// # Errors
    /// [`Error::NotFound`] where there is no such interface.
    pub fn addresses(&self, index: u32) -> Result<Vec<Address>, Error> {
        let mut message = AddressMessage::default();
        message.header.index = index;
        let operation = format_args!("list the addresses of interface #{index}");
        self.dump(&RouteNetlinkMessage::GetAddress(message), &operation, |packet| {
            // A kernel without strict checking lists every interface's.
            if packet.interface() == Some(index) { parse(packet) } else { None }
        })
    }

    /// Sets an address on an interface. IPv4 networks with room for one (up to /30) get their broadcast address.
    ///
    /// # Errors
    /// [`Error::Exists`] where the interface has it; [`Error::NotFound`] where there is no such interface.
    pub fn add_address(&self, index: u32, address: &NewAddress) -> Result<(), Error> {
        self.send_address(index, address, AddressFlags::empty())
    }

    /// The same without the route to the address's network over the interface (`IFA_F_NOPREFIXROUTE`; IPv4 since Linux 4.18).
    ///
    /// # Errors
    /// As [`Netlink::add_address`].
    pub fn add_address_without_route(&self, index: u32, address: &NewAddress) -> Result<(), Error> {
        self.send_address(index, address, AddressFlags::Noprefixroute)
    }

    fn send_address(&self, index: u32, address: &NewAddress, mut flags: AddressFlags) -> Result<(), Error> {
        let mut message = identify(index, address.network);
        if let IpNetwork::V4(network) = address.network {
            message.attributes.extend(broadcast(network).map(AddressAttribute::Broadcast));
        }
        flags.set(AddressFlags::Nodad, address.nodad);
        if !flags.is_empty() {
            message.attributes.push(AddressAttribute::Flags(flags));
        }
        let operation = format_args!("add address {} to interface #{index}", address.network);
        self.execute(&RouteNetlinkMessage::NewAddress(message), NLM_F_CREATE | NLM_F_EXCL, &operation)
    }

    /// Removes an address from an interface. `false` where it, or the interface, is not there. With the first IPv4
    /// address of a network the kernel removes the others of that network, unless `promote_secondaries` is set.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub fn delete_address(&self, index: u32, network: IpNetwork) -> Result<bool, Error> {
        let message = RouteNetlinkMessage::DelAddress(identify(index, network));
        match self.execute(&message, 0, &format_args!("remove address {network} from interface #{index}")) {
            Ok(()) => Ok(true),
            Err(Error::NotFound(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

fn identify(index: u32, network: IpNetwork) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = if network.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    message.header.prefix_len = network.prefix();
    message.header.index = index;
    // For IPv4 the two differ on point-to-point links only; the kernel wants both.
    message.attributes = vec![AddressAttribute::Local(network.ip()), AddressAttribute::Address(network.ip())];
    message
}

/// The Go netlink library, and so the reference, sets it where two host addresses and it fit.
fn broadcast(network: Ipv4Network) -> Option<Ipv4Addr> {
    (network.prefix() < 31).then(|| network.broadcast())
}

pub(crate) fn parse(packet: &Packet) -> Option<Address> {
    if packet.kind != libc::RTM_NEWADDR {
        return None;
    }
    let (prefix, scope) = (packet.u8_at(1)?, packet.u8_at(3)?);
    let mut flags = u32::from(packet.u8_at(2)?);
    let mut local: Option<IpAddr> = None;
    let mut address = None;
    for attribute in packet.attributes(HEADER) {
        match attribute.kind {
            libc::IFA_LOCAL => local = attribute.ip(),
            libc::IFA_ADDRESS => address = attribute.ip(),
            libc::IFA_FLAGS => flags = attribute.u32().unwrap_or(flags),
            _ => {}
        }
    }
    Some(Address {
        network: IpNetwork::new(local.or(address)?, prefix).ok()?,
        scope,
        tentative: flags & libc::IFA_F_TENTATIVE != 0,
        dad_failed: flags & libc::IFA_F_DADFAILED != 0,
        permanent: flags & libc::IFA_F_PERMANENT != 0,
        secondary: flags & libc::IFA_F_SECONDARY != 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broadcast_addresses_are_the_references() {
        for (network, expected) in [
            ("10.22.0.5/16", Some("10.22.255.255")),
            ("10.0.0.1/30", Some("10.0.0.3")),
            ("10.0.0.1/31", None),
            ("10.0.0.1/32", None),
        ] {
            let expected = expected.map(|text| text.parse().unwrap());
            assert_eq!(broadcast(network.parse().unwrap()), expected, "{network}");
        }
    }
}
