//! The numbers by which a network namespace knows others (`RTM_GETNSID`).

use std::os::fd::{AsFd, AsRawFd};

use netlink_packet_route::{
    RouteNetlinkMessage,
    nsid::{NsidAttribute, NsidMessage},
};

use crate::{Error, Namespace, Netlink};

/// The length of `struct rtgenmsg`, padded.
const HEADER: usize = 4;
/// `NETNSA_NSID`.
const NSID: u16 = 1;

impl Netlink {
    /// The number that this namespace has for another one, which [`Link::peer_netnsid`](crate::Link::peer_netnsid) tells
    /// of a veth pair's far end. `None` where it has none: no interface here has anything to do with that one.
    ///
    /// # Errors
    /// The kernel's.
    pub fn id_of(&self, namespace: &Namespace) -> Result<Option<i32>, Error> {
        let mut message = NsidMessage::default();
        // A descriptor is never negative.
        let fd = namespace.as_fd().as_raw_fd().unsigned_abs();
        message.attributes.push(NsidAttribute::Fd(fd));
        let operation = format_args!("ask for the number of network namespace {}", namespace.path().display());
        let packet = self.fetch(&RouteNetlinkMessage::GetNsId(message), &operation)?;
        let id = packet.attributes(HEADER).find(|attribute| attribute.kind == NSID);
        // NETNSA_NSID_NOT_ASSIGNED is -1.
        Ok(id.and_then(|id| id.i32()).filter(|id| *id >= 0))
    }
}
