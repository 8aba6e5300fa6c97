//! Creating bridges, veth pairs and ifb devices, each with one `RTM_NEWLINK`.

use std::os::fd::{AsFd, AsRawFd};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{InfoBridge, InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage},
};
use nix::libc;

use super::check_new_name;
use crate::{Error, MacAddr, Namespace, Netlink};

/// What `EOPNOTSUPP` means where VLAN filtering is asked for (`CONFIG_BRIDGE_VLAN_FILTERING`).
pub(super) const NO_FILTERING: &str = "this kernel is built without VLAN filtering for bridges";

/// A bridge to create.
#[derive(Debug, Clone)]
pub struct NewBridge<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its MAC address. One that is set at birth stays put; without, the kernel takes the lowest of the ports' and
    /// changes it as ports come and go.
    pub mac: Option<MacAddr>,
    /// The MTU in bytes; without, 1500, and the kernel follows the smallest of the ports'.
    pub mtu: Option<u32>,
    /// Whether it filters by VLAN.
    pub vlan_filtering: bool,
    /// Whether it is switched on at once.
    pub up: bool,
}

/// A veth pair to create: one end here, the other born in its own namespace.
#[derive(Debug, Clone)]
pub struct NewVeth<'a> {
    /// The end in the namespace of the [`Netlink`].
    pub host: VethHost<'a>,
    /// The far end.
    pub peer: VethPeer<'a>,
}

/// The near end of a veth pair.
#[derive(Debug, Clone)]
pub struct VethHost<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its MAC address; random without.
    pub mac: Option<MacAddr>,
    /// The MTU in bytes; 1500 without.
    pub mtu: Option<u32>,
    /// The index of the bridge it becomes a port of.
    pub master: Option<u32>,
    /// Whether it is switched on at once.
    pub up: bool,
}

/// The far end of a veth pair. The kernel does not let it be born switched on.
#[derive(Debug, Clone)]
pub struct VethPeer<'a> {
    /// Its name, in `namespace`.
    pub name: &'a str,
    /// Its MAC address; random without.
    pub mac: Option<MacAddr>,
    /// The MTU in bytes; 1500 without.
    pub mtu: Option<u32>,
    /// Where it is born.
    pub namespace: &'a Namespace,
}

/// An intermediate functional block to create: a device through which another's incoming packets are led, to be shaped.
#[derive(Debug, Clone)]
pub struct NewIfb<'a> {
    /// Its name.
    pub name: &'a str,
    /// The MTU in bytes.
    pub mtu: u32,
    /// How many packets may wait in it; the kernel's own 32 is too few for a shaped link.
    pub tx_queue_len: u32,
    /// Whether it is switched on at once.
    pub up: bool,
}

impl Netlink {
    /// Creates an ifb device.
    ///
    /// # Errors
    /// [`Error::Exists`] for a name that is taken, by whatever kind of interface; `Operation not supported` where the
    /// kernel has no `ifb` module.
    pub fn create_ifb(&self, ifb: &NewIfb<'_>) -> Result<(), Error> {
        check_new_name(ifb.name)?;
        let mut message = named(ifb.name, None, Some(ifb.mtu), ifb.up);
        message.attributes.push(LinkAttribute::TxQueueLen(ifb.tx_queue_len));
        message.attributes.push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Ifb)]));
        self.create(message, &format_args!("create ifb {}", ifb.name))
            .map_err(|error| error.hint(libc::EOPNOTSUPP, "this kernel has no ifb module"))
    }

    /// Creates a bridge. Of several that try at once one succeeds, and the others get [`Error::Exists`].
    ///
    /// # Errors
    /// [`Error::Exists`] for a name that is taken, by whatever kind of interface; `Operation not supported` where
    /// the kernel has no VLAN filtering and it is asked for.
    pub fn create_bridge(&self, bridge: &NewBridge<'_>) -> Result<(), Error> {
        check_new_name(bridge.name)?;
        let mut message = named(bridge.name, bridge.mac, bridge.mtu, bridge.up);
        let mut info = vec![LinkInfo::Kind(InfoKind::Bridge)];
        if bridge.vlan_filtering {
            info.push(LinkInfo::Data(InfoData::Bridge(vec![InfoBridge::VlanFiltering(true)])));
        }
        message.attributes.push(LinkAttribute::LinkInfo(info));
        let created = self.create(message, &format_args!("create bridge {}", bridge.name));
        if bridge.vlan_filtering {
            created.map_err(|error| error.hint(libc::EOPNOTSUPP, NO_FILTERING))
        } else {
            created
        }
    }

    /// Creates a veth pair: both ends exist, with name, address and MTU, the near one in its bridge, or nothing does.
    ///
    /// # Errors
    /// [`Error::Exists`] where the near name is taken, [`Error::PeerExists`] where the far one is,
    /// [`Error::NotFound`] where the master is gone.
    pub fn create_veth(&self, veth: &NewVeth<'_>) -> Result<(), Error> {
        let NewVeth { host, peer } = veth;
        check_new_name(host.name)?;
        check_new_name(peer.name)?;
        let mut far = named(peer.name, peer.mac, peer.mtu, false);
        far.attributes.push(LinkAttribute::NetNsFd(peer.namespace.as_fd().as_raw_fd()));
        let mut near = named(host.name, host.mac, host.mtu, host.up);
        near.attributes.extend(host.master.map(LinkAttribute::Controller));
        near.attributes.push(LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Veth),
            LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(far))),
        ]));
        let operation =
            format_args!("create veth pair {} - {} (in {})", host.name, peer.name, peer.namespace.path().display());
        self.create(near, &operation).map_err(|error| self.explain(veth, error))
    }

    fn create(&self, message: LinkMessage, operation: &dyn std::fmt::Display) -> Result<(), Error> {
        self.execute(&RouteNetlinkMessage::NewLink(message), NLM_F_CREATE | NLM_F_EXCL, operation)
    }

    /// The kernel gives one number for several reasons; a look at the links tells them apart.
    fn explain(&self, veth: &NewVeth<'_>, error: Error) -> Error {
        match (error, veth.host.master) {
            (Error::Exists(refusal), _) => match self.link(veth.host.name) {
                Ok(None) => Error::PeerExists(refusal),
                _ => Error::Exists(refusal.explained(format!("interface name {} is taken", veth.host.name))),
            },
            (Error::Kernel(refusal) | Error::NotFound(refusal), Some(master)) => match self.link(master) {
                Ok(None) => Error::NotFound(refusal.explained(format!("bridge #{master} is gone"))),
                _ if refusal.errno == libc::EXFULL => Error::Kernel(
                    refusal.explained(format!("bridge #{master} has no port left, the kernel allows 1023")),
                ),
                _ => Error::refused(refusal),
            },
            (error, _) => error,
        }
    }
}

fn named(name: &str, mac: Option<MacAddr>, mtu: Option<u32>, up: bool) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::IfName(name.to_owned()));
    message.attributes.extend(mac.map(|mac| LinkAttribute::Address(mac.octets().to_vec())));
    message.attributes.extend(mtu.map(LinkAttribute::Mtu));
    if up {
        message.header.flags = LinkFlags::Up;
        message.header.change_mask = LinkFlags::Up;
    }
    message
}
