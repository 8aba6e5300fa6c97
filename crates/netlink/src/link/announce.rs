//! Telling the neighbours who has an interface's addresses.

use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{LinkAttribute, LinkMessage},
};

use crate::{Error, Netlink};

const ETHERNET_BROADCAST: [u8; 6] = [0xff; 6];

impl Netlink {
    /// Has the kernel announce the addresses of an Ethernet interface: by a gratuitous ARP and unsolicited neighbour
    /// advertisements, where `arp_notify` and `ndisc_notify` are on.
    ///
    /// It does that when a link-layer address of the interface is set, be it to what it was, and to set the broadcast address,
    /// which is always the same, changes nothing. It brings the announcement to all ports of the bridge before it comes back, 3
    /// to 8 us for each, so a process of its own waits for that, and needs this socket. It may be late, but never
    /// wrong: what is announced is what is true then.
    ///
    /// # Errors
    /// The kernel's, only where no process can be had.
    pub fn announce(self, index: u32) -> Result<(), Error> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        message.attributes.push(LinkAttribute::Broadcast(ETHERNET_BROADCAST.to_vec()));
        let message = RouteNetlinkMessage::SetLink(message);
        match self.execute_apart(&message) {
            Ok(_) => Ok(()),
            Err(_) => self.execute(&message, 0, &format_args!("announce the addresses of interface #{index}")),
        }
    }
}
