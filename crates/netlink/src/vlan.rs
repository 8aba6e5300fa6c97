//! VLANs of a bridge's ports (`AF_BRIDGE` messages with `IFLA_BRIDGE_VLAN_INFO`).

use std::collections::BTreeMap;

use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    link::{AfSpecBridge, BridgeVlanInfo, BridgeVlanInfoFlags as Flags, LinkAttribute, LinkExtentMask, LinkMessage},
};
use nix::libc;

use crate::{
    Error, Netlink,
    packet::{Attribute, Packet},
};

/// The length of `struct ifinfomsg`.
const HEADER: usize = 16;
/// linux/if_bridge.h.
const IFLA_BRIDGE_VLAN_INFO: u16 = 2;

const UNSUPPORTED: &str = "it is no port of a bridge, or this kernel is built without VLAN filtering";

/// A VLAN that a port carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortVlan {
    /// The VLAN ID, 1 to 4094.
    pub vid: u16,
    /// Whether packets that come in without a tag belong to it. One VLAN of a port at most.
    pub pvid: bool,
    /// Whether packets go out without a tag.
    pub untagged: bool,
}

impl Netlink {
    /// The VLANs of one port, or of a bridge itself, in ascending order. Empty where it is neither, and where the
    /// kernel has no VLAN filtering.
    ///
    /// # Errors
    /// As [`Netlink::links`]: the kernel can only list all ports.
    pub fn vlans(&self, index: u32) -> Result<Vec<PortVlan>, Error> {
        let mut message = bridge_message(0);
        message.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::BrvlanCompressed]));
        let operation = format_args!("list the VLANs of port #{index}");
        let found = self.dump(&RouteNetlinkMessage::GetLink(message), &operation, |packet| {
            if packet.interface() == Some(index) { Some(parse(packet)) } else { None }
        })?;
        Ok(found.into_iter().flatten().collect())
    }

    /// Adds VLANs to a port, or changes their flags, with one message.
    ///
    /// # Errors
    /// `Operation not supported` where it is no port of a bridge, or the kernel has no VLAN filtering; `Invalid
    /// argument` for an ID that is none.
    pub fn add_vlans(&self, index: u32, vlans: &[PortVlan]) -> Result<(), Error> {
        if vlans.is_empty() {
            return Ok(());
        }
        let mut message = bridge_message(index);
        message.attributes.push(LinkAttribute::AfSpecBridge(ranges(vlans)));
        let operation = format_args!("add VLANs {} to port #{index}", ids(vlans));
        self.execute(&RouteNetlinkMessage::SetLink(message), 0, &operation)
            .map_err(|error| error.hint(libc::EOPNOTSUPP, UNSUPPORTED))
    }

    /// Takes VLANs away from a port, with one message. Those it does not carry are none of the kernel's business.
    ///
    /// # Errors
    /// As [`Netlink::add_vlans`].
    pub fn delete_vlans(&self, index: u32, vids: &[u16]) -> Result<(), Error> {
        if vids.is_empty() {
            return Ok(());
        }
        let vlans: Vec<_> = vids.iter().map(|vid| PortVlan { vid: *vid, pvid: false, untagged: false }).collect();
        let mut message = bridge_message(index);
        message.attributes.push(LinkAttribute::AfSpecBridge(ranges(&vlans)));
        let operation = format_args!("remove VLANs {} from port #{index}", ids(&vlans));
        self.execute(&RouteNetlinkMessage::DelLink(message), 0, &operation)
            .map_err(|error| error.hint(libc::EOPNOTSUPP, UNSUPPORTED))
    }
}

fn bridge_message(index: u32) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.interface_family = AddressFamily::Bridge;
    message.header.index = index;
    message
}

fn ids(vlans: &[PortVlan]) -> String {
    let shown: Vec<_> = vlans.iter().take(8).map(|vlan| vlan.vid.to_string()).collect();
    let more = if vlans.len() > shown.len() { ", ..." } else { "" };
    format!("{}{more}", shown.join(", "))
}

/// Runs of neighbouring IDs with the same flags become one range of two entries, so that a trunk of all VLANs takes
/// 16 bytes. The port's PVID stands alone: the kernel takes no range with that flag.
fn ranges(vlans: &[PortVlan]) -> Vec<AfSpecBridge> {
    let sorted: BTreeMap<u16, PortVlan> = vlans.iter().map(|vlan| (vlan.vid, *vlan)).collect();
    let mut runs: Vec<(PortVlan, u16)> = Vec::new();
    for vlan in sorted.into_values() {
        match runs.last_mut() {
            Some((first, last))
                if *last + 1 == vlan.vid && !first.pvid && !vlan.pvid && first.untagged == vlan.untagged =>
            {
                *last = vlan.vid;
            }
            _ => runs.push((vlan, vlan.vid)),
        }
    }
    let mut entries = Vec::new();
    for (first, last) in runs {
        let mut flags = Flags::empty();
        flags.set(Flags::Pvid, first.pvid);
        flags.set(Flags::Untagged, first.untagged);
        if first.vid == last {
            entries.push(entry(flags, last));
        } else {
            entries.push(entry(flags | Flags::RangeBegin, first.vid));
            entries.push(entry(flags | Flags::RangeEnd, last));
        }
    }
    entries
}

fn entry(flags: Flags, vid: u16) -> AfSpecBridge {
    AfSpecBridge::VlanInfo(BridgeVlanInfo { flags, vid })
}

pub(crate) fn parse(packet: &Packet) -> Vec<PortVlan> {
    let mut vlans = BTreeMap::new();
    let mut begin = None;
    let specs = packet.attributes(HEADER).filter(|attribute| attribute.kind == libc::IFLA_AF_SPEC);
    for info in specs.flat_map(Attribute::nested).filter(|attribute| attribute.kind == IFLA_BRIDGE_VLAN_INFO) {
        let (Some(flags), Some(vid)) = (info.u16_at(0).map(Flags::from_bits_retain), info.u16_at(2)) else { continue };
        if flags.contains(Flags::RangeBegin) {
            begin = Some(vid);
            continue;
        }
        let first = if flags.contains(Flags::RangeEnd) { begin.take().unwrap_or(vid) } else { vid };
        let (pvid, untagged) = (flags.contains(Flags::Pvid), flags.contains(Flags::Untagged));
        vlans.extend((first..=vid).map(|vid| (vid, PortVlan { vid, pvid, untagged })));
    }
    vlans.into_values().collect()
}

#[cfg(test)]
mod tests {
    use netlink_packet_core::NetlinkPayload;

    use super::*;

    fn vlan(vid: u16) -> PortVlan {
        PortVlan { vid, pvid: false, untagged: false }
    }

    fn packet(vlans: &[PortVlan]) -> Packet {
        let mut message = bridge_message(3);
        message.attributes.push(LinkAttribute::AfSpecBridge(ranges(vlans)));
        match Packet::request(&RouteNetlinkMessage::SetLink(message), 0).payload {
            NetlinkPayload::InnerMessage(packet) => packet,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_message_is_the_kernels_layout() {
        let body = packet(&[vlan(12), vlan(10), vlan(11), PortVlan { vid: 100, pvid: true, untagged: true }]).body;
        #[rustfmt::skip]
        let expected = [
            7, 0, 0, 0,  3, 0, 0, 0,  0, 0, 0, 0,  0, 0, 0, 0, // AF_BRIDGE, interface 3
            28, 0, 26, 0,                                      // IFLA_AF_SPEC
            8, 0, 2, 0,  8, 0, 10, 0,                          // RANGE_BEGIN 10
            8, 0, 2, 0,  16, 0, 12, 0,                         // RANGE_END 12
            8, 0, 2, 0,  6, 0, 100, 0,                         // PVID | UNTAGGED 100
        ];
        assert_eq!(body, expected);
    }

    #[test]
    fn ranges_break_at_gaps_flags_and_the_pvid() {
        let untagged = |vid| PortVlan { vid, pvid: false, untagged: true };
        let pvid = |vid| PortVlan { vid, pvid: true, untagged: true };
        for vlans in [
            vec![vlan(1), vlan(2), vlan(4), vlan(5), vlan(6)],
            vec![vlan(1), untagged(2), untagged(3), vlan(4)],
            vec![untagged(1), pvid(2), untagged(3)],
            (1..=4094).map(vlan).collect(),
            vec![],
        ] {
            assert_eq!(parse(&packet(&vlans)), vlans);
        }
        assert_eq!(ranges(&(1..=4094).map(vlan).collect::<Vec<_>>()).len(), 2);
        assert_eq!(ranges(&[untagged(1), pvid(2), untagged(3)]).len(), 3);
    }

    #[test]
    fn an_id_given_twice_is_sent_once() {
        assert_eq!(ranges(&[vlan(5), vlan(5)]), ranges(&[vlan(5)]));
    }
}
