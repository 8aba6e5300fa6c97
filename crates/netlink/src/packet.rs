//! Raw rtnetlink messages and their attributes.
//!
//! Messages go out through the typed structures of netlink-packet-route. They come in as bytes: its parser gives up
//! a whole message for one attribute it does not understand, and netlink-proto then drops that message, so that a
//! link with an alias in Latin-1 or a newer kind of device would not exist for us. Here an attribute that cannot be
//! read is left out alone, and the (large) ones nobody asks for cost nothing.

use std::{
    convert::Infallible,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use netlink_packet_core::{
    Emitable, NetlinkDeserializable, NetlinkHeader, NetlinkMessage, NetlinkPayload, NetlinkSerializable, NlasIterator,
};
use netlink_packet_route::RouteNetlinkMessage;
use nix::libc;

/// One message without its netlink header: the family's own header (`ifinfomsg`, ...) and attributes.
#[derive(Debug)]
pub(crate) struct Packet {
    /// `RTM_*`.
    pub kind: u16,
    /// Everything after `nlmsghdr`.
    pub body: Vec<u8>,
}

impl Packet {
    /// A message ready to send, with the `NLM_F_*` flags given.
    pub fn request(message: &RouteNetlinkMessage, flags: u16) -> NetlinkMessage<Packet> {
        let mut body = vec![0; Emitable::buffer_len(message)];
        message.emit(&mut body);
        let mut header = NetlinkHeader::default();
        header.flags = flags;
        NetlinkMessage::new(header, NetlinkPayload::InnerMessage(Packet { kind: message.message_type(), body }))
    }

    /// The attributes after a header of `skip` bytes.
    pub fn attributes(&self, skip: usize) -> impl Iterator<Item = Attribute<'_>> {
        attributes(self.body.get(skip..).unwrap_or_default())
    }

    /// The index of the interface it is about, which `ifinfomsg`, `ifaddrmsg` and `tcmsg` all hold at offset 4. A route has
    /// none here.
    pub fn interface(&self) -> Option<u32> {
        if matches!(self.kind, libc::RTM_NEWROUTE | libc::RTM_DELROUTE) { None } else { self.u32_at(4) }
    }

    pub fn u8_at(&self, offset: usize) -> Option<u8> {
        self.body.get(offset).copied()
    }

    pub fn u32_at(&self, offset: usize) -> Option<u32> {
        self.body.get(offset..offset + 4).and_then(to_u32)
    }
}

impl NetlinkSerializable for Packet {
    fn message_type(&self) -> u16 {
        self.kind
    }

    fn buffer_len(&self) -> usize {
        self.body.len()
    }

    fn serialize(&self, buffer: &mut [u8]) {
        buffer.copy_from_slice(&self.body);
    }
}

impl NetlinkDeserializable for Packet {
    type Error = Infallible;

    fn deserialize(header: &NetlinkHeader, payload: &[u8]) -> Result<Self, Infallible> {
        Ok(Packet { kind: header.message_type, body: payload.to_vec() })
    }
}

/// One attribute. The readers give `None` for a value of another length than the type has.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attribute<'a> {
    pub kind: u16,
    pub value: &'a [u8],
}

impl<'a> Attribute<'a> {
    pub fn nested(self) -> impl Iterator<Item = Attribute<'a>> {
        attributes(self.value)
    }

    pub fn u8(self) -> Option<u8> {
        self.value.first().copied()
    }

    pub fn u16_at(self, offset: usize) -> Option<u16> {
        self.value.get(offset..offset + 2).and_then(|bytes| bytes.try_into().ok()).map(u16::from_ne_bytes)
    }

    pub fn u32(self) -> Option<u32> {
        to_u32(self.value)
    }

    pub fn u32_at(self, offset: usize) -> Option<u32> {
        self.value.get(offset..offset + 4).and_then(to_u32)
    }

    pub fn i32(self) -> Option<i32> {
        self.value.try_into().ok().map(i32::from_ne_bytes)
    }

    /// Text up to the terminating NUL; bytes that are not UTF-8 are replaced.
    pub fn text(self) -> String {
        String::from_utf8_lossy(self.value.split(|byte| *byte == 0).next().unwrap_or_default()).into_owned()
    }

    pub fn ip(self) -> Option<IpAddr> {
        to_ip(self.value)
    }
}

/// The attributes in a buffer, up to the first that is cut off.
pub(crate) fn attributes(buffer: &[u8]) -> impl Iterator<Item = Attribute<'_>> {
    NlasIterator::new(buffer).map_while(Result::ok).map(move |nla| {
        let kind = nla.kind();
        let length = nla.value_length();
        // `value` of the library borrows from the iterator's item; the bytes themselves live in `buffer`.
        Attribute { kind, value: nla.into_inner().get(4..4 + length).unwrap_or_default() }
    })
}

/// Four or sixteen bytes in network order.
pub(crate) fn to_ip(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        Some(Ipv4Addr::from(v4).into())
    } else {
        <[u8; 16]>::try_from(bytes).ok().map(|v6| Ipv6Addr::from(v6).into())
    }
}

fn to_u32(bytes: &[u8]) -> Option<u32> {
    bytes.try_into().ok().map(u32::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_unreadable_attribute_leaves_the_others_alone() {
        // A u32 of three bytes, a good u32, and one whose length runs past the end.
        let bytes = [7, 0, 1, 0, 1, 2, 3, 0, 8, 0, 2, 0, 5, 0, 0, 0, 40, 0, 3, 0];
        let read: Vec<_> = attributes(&bytes).map(|attribute| (attribute.kind, attribute.u32())).collect();
        assert_eq!(read, [(1, None), (2, Some(u32::from_ne_bytes([5, 0, 0, 0])))]);
    }

    #[test]
    fn text_ends_at_nul_and_survives_other_encodings() {
        assert_eq!(Attribute { kind: 0, value: b"eth0\0\0" }.text(), "eth0");
        assert_eq!(Attribute { kind: 0, value: b"caf\xe9" }.text(), "caf\u{fffd}");
    }

    #[test]
    fn a_short_body_has_no_interface_and_no_attributes() {
        let packet = Packet { kind: 16, body: vec![0; 6] };
        assert_eq!(packet.interface(), None);
        assert_eq!(packet.attributes(16).count(), 0);
    }
}
