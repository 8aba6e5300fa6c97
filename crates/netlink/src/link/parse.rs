//! Reading `RTM_NEWLINK`.

use nix::libc;

use super::{AddrGenMode, BridgePort, Link, LinkKind, OperState, PortState};
use crate::{
    MacAddr,
    packet::{Attribute, Packet},
};

/// The length of `struct ifinfomsg`.
pub(crate) const HEADER: usize = 16;
/// Where `ifinfomsg` holds the flags.
const FLAGS: usize = 8;

/// `IFLA_BR_VLAN_FILTERING`, `IFLA_BRPORT_*`, `IFLA_INET6_*`: linux/if_link.h, not in libc.
const IFLA_BR_VLAN_FILTERING: u16 = 7;
const IFLA_BRPORT_STATE: u16 = 1;
const IFLA_BRPORT_MODE: u16 = 4;
const IFLA_BRPORT_ISOLATED: u16 = 33;
const IFLA_INET6_CONF: u16 = 2;
const IFLA_INET6_ADDR_GEN_MODE: u16 = 8;
/// The place of `accept_ra` among the numbers of `IFLA_INET6_CONF` (linux/ipv6.h).
const DEVCONF_ACCEPT_RA: usize = 3;
const AF_INET6: u16 = libc::AF_INET6 as u16;

/// `None` for anything that is not the description of an interface.
pub(crate) fn link(packet: &Packet) -> Option<Link> {
    if packet.kind != libc::RTM_NEWLINK {
        return None;
    }
    let flags = packet.u32_at(FLAGS)?;
    let has = |flag: libc::c_int| flags & flag.cast_unsigned() != 0;
    let mut link = Link {
        index: packet.interface()?,
        name: String::new(),
        mac: None,
        mtu: 0,
        up: has(libc::IFF_UP),
        oper_state: OperState::Unknown,
        kind: if has(libc::IFF_LOOPBACK) { LinkKind::Loopback } else { LinkKind::None },
        master: None,
        peer_index: None,
        peer_netnsid: None,
        promiscuity: 0,
        promiscuous: has(libc::IFF_PROMISC),
        all_multicast: has(libc::IFF_ALLMULTI),
        tx_queue_len: 0,
        alias: None,
        port: None,
        addr_gen_mode: None,
        accept_ra: None,
    };
    for attribute in packet.attributes(HEADER) {
        match attribute.kind {
            libc::IFLA_IFNAME => link.name = attribute.text(),
            libc::IFLA_ADDRESS => link.mac = <[u8; 6]>::try_from(attribute.value).ok().map(MacAddr::from),
            libc::IFLA_MTU => link.mtu = attribute.u32().unwrap_or_default(),
            libc::IFLA_TXQLEN => link.tx_queue_len = attribute.u32().unwrap_or_default(),
            libc::IFLA_OPERSTATE => link.oper_state = attribute.u8().map_or(OperState::Unknown, OperState::from),
            libc::IFLA_MASTER => link.master = attribute.u32().filter(|index| *index != 0),
            libc::IFLA_LINK => link.peer_index = attribute.u32().filter(|index| *index != 0),
            libc::IFLA_LINK_NETNSID => link.peer_netnsid = attribute.i32(),
            libc::IFLA_PROMISCUITY => link.promiscuity = attribute.u32().unwrap_or_default(),
            libc::IFLA_IFALIAS => link.alias = Some(attribute.text()),
            libc::IFLA_LINKINFO => link_info(attribute, &mut link),
            libc::IFLA_AF_SPEC => inet6(attribute, &mut link),
            _ => {}
        }
    }
    Some(link)
}

fn link_info(info: Attribute<'_>, link: &mut Link) {
    let mut port_of_bridge = false;
    let mut port = None;
    let mut vlan_filtering = false;
    for attribute in info.nested() {
        match attribute.kind {
            libc::IFLA_INFO_KIND => {
                link.kind = match attribute.text().as_str() {
                    "bridge" => LinkKind::Bridge { vlan_filtering: false },
                    "veth" => LinkKind::Veth,
                    kind => LinkKind::Other(kind.to_owned()),
                }
            }
            libc::IFLA_INFO_DATA => {
                vlan_filtering =
                    attribute.nested().any(|option| option.kind == IFLA_BR_VLAN_FILTERING && option.u8() == Some(1));
            }
            libc::IFLA_INFO_SLAVE_KIND => port_of_bridge = attribute.text() == "bridge",
            libc::IFLA_INFO_SLAVE_DATA => port = Some(attribute),
            _ => {}
        }
    }
    if let LinkKind::Bridge { vlan_filtering: filtering } = &mut link.kind {
        *filtering = vlan_filtering;
    }
    link.port = port.filter(|_| port_of_bridge).map(bridge_port);
}

fn bridge_port(data: Attribute<'_>) -> BridgePort {
    let mut port = BridgePort { hairpin: false, isolated: false, state: PortState::Disabled };
    for attribute in data.nested() {
        match attribute.kind {
            IFLA_BRPORT_STATE => port.state = attribute.u8().map_or(PortState::Disabled, PortState::from),
            IFLA_BRPORT_MODE => port.hairpin = attribute.u8() == Some(1),
            IFLA_BRPORT_ISOLATED => port.isolated = attribute.u8() == Some(1),
            _ => {}
        }
    }
    port
}

fn inet6(af_spec: Attribute<'_>, link: &mut Link) {
    for attribute in af_spec.nested().filter(|family| family.kind == AF_INET6).flat_map(Attribute::nested) {
        match attribute.kind {
            IFLA_INET6_CONF => link.accept_ra = attribute.u32_at(4 * DEVCONF_ACCEPT_RA).map(u32::cast_signed),
            IFLA_INET6_ADDR_GEN_MODE => link.addr_gen_mode = attribute.u8().map(AddrGenMode::from),
            _ => {}
        }
    }
}

impl From<u8> for OperState {
    fn from(number: u8) -> Self {
        match number {
            0 => OperState::Unknown,
            1 => OperState::NotPresent,
            2 => OperState::Down,
            3 => OperState::LowerLayerDown,
            4 => OperState::Testing,
            5 => OperState::Dormant,
            6 => OperState::Up,
            other => OperState::Other(other),
        }
    }
}

impl From<u8> for PortState {
    fn from(number: u8) -> Self {
        match number {
            0 => PortState::Disabled,
            1 => PortState::Listening,
            2 => PortState::Learning,
            3 => PortState::Forwarding,
            4 => PortState::Blocking,
            other => PortState::Other(other),
        }
    }
}

impl From<u8> for AddrGenMode {
    fn from(number: u8) -> Self {
        match number {
            0 => AddrGenMode::Eui64,
            1 => AddrGenMode::None,
            2 => AddrGenMode::StablePrivacy,
            3 => AddrGenMode::Random,
            other => AddrGenMode::Other(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut bytes = u16::try_from(value.len() + 4).unwrap().to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn newlink(attributes: &[Vec<u8>]) -> Packet {
        let mut body = vec![0; HEADER];
        body[4..8].copy_from_slice(&7_u32.to_ne_bytes());
        body[8..12].copy_from_slice(&1_u32.to_ne_bytes());
        body.extend(attributes.concat());
        Packet { kind: libc::RTM_NEWLINK, body }
    }

    #[test]
    fn what_a_newer_kernel_or_another_tool_wrote_does_not_hide_a_link() {
        let info =
            [attribute(libc::IFLA_INFO_KIND, b"quantum\0"), attribute(libc::IFLA_INFO_DATA, &[1, 2, 3])].concat();
        let packet = newlink(&[
            attribute(libc::IFLA_IFNAME, b"q0\0"),
            attribute(libc::IFLA_IFALIAS, b"caf\xe9\0"),
            attribute(999, &[0xff; 40]),
            attribute(libc::IFLA_MTU, &[1, 2, 3]),
            attribute(libc::IFLA_ADDRESS, &[1, 2, 3, 4]),
            attribute(libc::IFLA_LINKINFO, &info),
            attribute(libc::IFLA_OPERSTATE, &[77]),
        ]);
        let link = link(&packet).unwrap();
        assert_eq!((link.index, link.name.as_str(), link.up), (7, "q0", true));
        assert_eq!(link.alias.as_deref(), Some("caf\u{fffd}"));
        assert_eq!((link.mac, link.mtu), (None, 0));
        assert_eq!(link.kind, LinkKind::Other("quantum".to_owned()));
        assert_eq!(link.oper_state, OperState::Other(77));
    }

    #[test]
    fn a_port_of_a_bond_is_not_a_port_of_a_bridge() {
        let info = [
            attribute(libc::IFLA_INFO_SLAVE_KIND, b"bond\0"),
            attribute(libc::IFLA_INFO_SLAVE_DATA, &attribute(IFLA_BRPORT_MODE, &[1])),
        ]
        .concat();
        assert_eq!(link(&newlink(&[attribute(libc::IFLA_LINKINFO, &info)])).unwrap().port, None);
    }

    #[test]
    fn other_messages_are_no_links() {
        let mut packet = newlink(&[]);
        packet.kind = libc::RTM_NEWADDR;
        assert_eq!(link(&packet), None);
        assert_eq!(link(&Packet { kind: libc::RTM_NEWLINK, body: vec![0; 9] }), None);
    }
}
