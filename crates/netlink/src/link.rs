//! Interfaces: what they look like, and reading them.

mod change;
mod create;
mod delete;
pub(crate) mod parse;

use std::fmt;

use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{LinkAttribute, LinkExtentMask, LinkMessage},
};

pub use change::{LinkChange, PortChange};
pub use create::{NewBridge, NewIfb, NewVeth, VethHost, VethPeer};

use crate::{Error, MacAddr, Netlink};

/// One network interface (`RTM_NEWLINK`).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Link {
    /// The interface index, unique in its namespace while it lives.
    pub index: u32,
    /// The name (`IFLA_IFNAME`).
    pub name: String,
    /// The hardware address (`IFLA_ADDRESS`); `None` where it has none, or one that is not 48 bits long.
    pub mac: Option<MacAddr>,
    /// The largest packet in bytes, without the Ethernet header (`IFLA_MTU`).
    pub mtu: u32,
    /// Whether it is switched on (`IFF_UP`). Whether it can carry packets is `oper_state`.
    pub up: bool,
    /// The operational state (`IFLA_OPERSTATE`, RFC 2863).
    pub oper_state: OperState,
    /// What kind of interface it is (`IFLA_INFO_KIND`).
    pub kind: LinkKind,
    /// The index of the bridge (or bond, VRF) it is a port of (`IFLA_MASTER`).
    pub master: Option<u32>,
    /// The index of the link it belongs to (`IFLA_LINK`): the far end of a veth, the parent of a VLAN. Counted in the
    /// far end's namespace where `peer_netnsid` is set.
    pub peer_index: Option<u32>,
    /// This namespace's ID for the namespace of `peer_index`, where that is another one (`IFLA_LINK_NETNSID`).
    pub peer_netnsid: Option<i32>,
    /// How many times promiscuous mode is asked for, by anyone: a port of a bridge counts one (`IFLA_PROMISCUITY`).
    pub promiscuity: u32,
    /// Whether an operator switched promiscuous mode on (`IFF_PROMISC`).
    pub promiscuous: bool,
    /// Whether an operator asked for all multicast frames (`IFF_ALLMULTI`).
    pub all_multicast: bool,
    /// How many packets may wait to be sent (`IFLA_TXQLEN`).
    pub tx_queue_len: u32,
    /// The alias (`IFLA_IFALIAS`).
    pub alias: Option<String>,
    /// Its settings as a bridge's port, where it is one.
    pub port: Option<BridgePort>,
    /// How the kernel makes its IPv6 link-local address; `None` where the kernel or the interface has no IPv6.
    pub addr_gen_mode: Option<AddrGenMode>,
    /// Whether it takes routes from router advertisements (`DEVCONF_ACCEPT_RA`, the sysctl `accept_ra`): 0 is never; `None` as above.
    pub accept_ra: Option<i32>,
}

impl Link {
    /// Whether it is a bridge.
    pub fn is_bridge(&self) -> bool {
        matches!(self.kind, LinkKind::Bridge { .. })
    }

    /// Whether it is one end of a veth pair.
    pub fn is_veth(&self) -> bool {
        self.kind == LinkKind::Veth
    }
}

/// The kind of an interface. Displays as `ip link` names it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum LinkKind {
    /// An Ethernet bridge.
    Bridge {
        /// Whether it filters by VLAN (`IFLA_BR_VLAN_FILTERING`); false where the kernel cannot.
        vlan_filtering: bool,
    },
    /// One end of a virtual Ethernet pair.
    Veth,
    /// The loopback interface (`IFF_LOOPBACK`).
    Loopback,
    /// Any other kind that the kernel names.
    Other(String),
    /// A device of a driver that names no kind: hardware, as a rule.
    None,
}

impl fmt::Display for LinkKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LinkKind::Bridge { .. } => "bridge",
            LinkKind::Veth => "veth",
            LinkKind::Loopback => "loopback",
            LinkKind::Other(kind) => kind,
            LinkKind::None => "physical",
        })
    }
}

/// The operational state of RFC 2863, as the kernel numbers it (`IF_OPER_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum OperState {
    /// The driver does not tell; loopback is always so.
    Unknown,
    /// A part of it is missing.
    NotPresent,
    /// It carries nothing.
    Down,
    /// What it stands on is down: for a veth, its far end.
    LowerLayerDown,
    /// It is being tested.
    Testing,
    /// It waits for something outside, such as authentication.
    Dormant,
    /// It carries packets.
    Up,
    /// A number this crate does not know.
    Other(u8),
}

/// Settings of a bridge's port (`IFLA_INFO_SLAVE_DATA`).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BridgePort {
    /// Whether packets may leave by the port they came in (`IFLA_BRPORT_MODE`).
    pub hairpin: bool,
    /// Whether it exchanges packets only with ports that are not isolated (`IFLA_BRPORT_ISOLATED`).
    pub isolated: bool,
    /// The spanning tree state (`IFLA_BRPORT_STATE`).
    pub state: PortState,
}

/// The spanning tree state of a bridge's port (`BR_STATE_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PortState {
    /// Switched off, or without a carrier.
    Disabled,
    /// Spanning tree listens; nothing is forwarded yet.
    Listening,
    /// Spanning tree learns addresses; nothing is forwarded yet.
    Learning,
    /// Packets pass.
    Forwarding,
    /// Closed by spanning tree.
    Blocking,
    /// A number this crate does not know.
    Other(u8),
}

/// How the kernel makes an IPv6 link-local address (`IFLA_INET6_ADDR_GEN_MODE`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum AddrGenMode {
    /// Out of the MAC address.
    Eui64,
    /// Not at all.
    None,
    /// By RFC 7217, with the secret of the namespace.
    StablePrivacy,
    /// By RFC 7217, with a secret made up on the spot.
    Random,
    /// A number this crate does not know.
    Other(u8),
}

/// Names an interface in a request: by index, or by name, which saves looking the index up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkRef<'a> {
    /// By index.
    Index(u32),
    /// By name (or, for reading, by alternative name).
    Name(&'a str),
}

impl From<u32> for LinkRef<'_> {
    fn from(index: u32) -> Self {
        LinkRef::Index(index)
    }
}

impl<'a> From<&'a str> for LinkRef<'a> {
    fn from(name: &'a str) -> Self {
        LinkRef::Name(name)
    }
}

impl<'a> From<&'a String> for LinkRef<'a> {
    fn from(name: &'a String) -> Self {
        LinkRef::Name(name)
    }
}

impl fmt::Display for LinkRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LinkRef::Index(index) => write!(f, "#{index}"),
            LinkRef::Name(name) => f.write_str(name),
        }
    }
}

impl LinkRef<'_> {
    /// Puts the reference where the kernel looks for it: the header's index, or else `IFLA_IFNAME`.
    fn apply(self, message: &mut LinkMessage) -> Result<(), Error> {
        match self {
            LinkRef::Index(index) => message.header.index = index,
            LinkRef::Name(name) => {
                check_name(name)?;
                message.attributes.push(LinkAttribute::IfName(name.to_owned()));
            }
        }
        Ok(())
    }
}

impl Netlink {
    /// One interface, or `None` where there is no such one. One question, one answer.
    ///
    /// # Errors
    /// [`Error::InvalidName`], and what the kernel refuses.
    pub fn link<'a>(&self, link: impl Into<LinkRef<'a>>) -> Result<Option<Link>, Error> {
        let link = link.into();
        let mut message = LinkMessage::default();
        link.apply(&mut message)?;
        message.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
        let operation = format_args!("read interface {link}");
        match self.fetch(&RouteNetlinkMessage::GetLink(message), &operation) {
            Ok(packet) => Ok(parse::link(&packet)),
            Err(Error::NotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// All interfaces of the namespace.
    ///
    /// # Errors
    /// [`Error::Busy`] where they change faster than they can be listed.
    pub fn links(&self) -> Result<Vec<Link>, Error> {
        self.list_links(Vec::new(), &"list the interfaces")
    }

    /// The interfaces that are ports of a bridge. Filtered by the kernel.
    ///
    /// # Errors
    /// As [`Netlink::links`].
    pub fn ports(&self, bridge: u32) -> Result<Vec<Link>, Error> {
        let filter = vec![LinkAttribute::Controller(bridge)];
        let mut ports = self.list_links(filter, &format_args!("list the ports of bridge #{bridge}"))?;
        ports.retain(|link| link.master == Some(bridge));
        Ok(ports)
    }

    fn list_links(&self, filter: Vec<LinkAttribute>, operation: &dyn fmt::Display) -> Result<Vec<Link>, Error> {
        let mut message = LinkMessage::default();
        message.attributes = filter;
        message.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
        self.dump(&RouteNetlinkMessage::GetLink(message), operation, parse::link)
    }
}

/// The same for a name to be given: the kernel would take a `%d` for a place to put a number, and keeps two names for
/// settings of all interfaces.
fn check_new_name(name: &str) -> Result<(), Error> {
    let refused = |reason| Err(Error::InvalidName { name: name.to_owned(), reason });
    match name {
        "all" | "default" => refused("the kernel keeps it for settings of all interfaces"),
        _ if name.contains('%') => refused("it contains '%', which the kernel takes for a pattern"),
        _ => check_name(name),
    }
}

/// The kernel's rule for names (`dev_valid_name`), checked here because its answer is a bare `EINVAL` or `ERANGE`.
fn check_name(name: &str) -> Result<(), Error> {
    let reason = if name.is_empty() {
        "it is empty"
    } else if name.len() > 15 {
        "it is longer than 15 bytes"
    } else if name == "." || name == ".." {
        "it is a directory"
    } else if name.bytes().any(|byte| matches!(byte, b'/' | b':' | b'\0' | 0x0b) || byte.is_ascii_whitespace()) {
        "it contains '/', ':', white space or NUL"
    } else {
        return Ok(());
    };
    Err(Error::InvalidName { name: name.to_owned(), reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_kernel_refuses_are_refused_here() {
        for name in ["", "a234567890123456", ".", "..", "a/b", "a:b", "a b", "a\tb", "a\0"] {
            assert!(matches!(check_name(name), Err(Error::InvalidName { .. })), "{name:?}");
        }
        for name in ["a", "eth0.100", "a23456789012345", "...", "vé"] {
            assert!(check_name(name).is_ok(), "{name:?}");
        }
    }
}
