//! Changing and deleting interfaces.

use std::fmt;

use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{
        AfSpecInet, AfSpecInet6, AfSpecUnspec, In6AddrGenMode, InetDevConf, InfoBridge, InfoBridgePort, InfoData,
        InfoKind, InfoPortData, InfoPortKind, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
    },
};

use nix::libc;

use super::{AddrGenMode, LinkRef, check_name, create::NO_FILTERING};
use crate::{Error, MacAddr, Netlink};

/// What to change of an interface; what is `None` stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LinkChange {
    /// Switch it on or off (`IFF_UP`).
    pub up: Option<bool>,
    /// Give it another name. The kernel does this before it applies `up`; until Linux 6.2 it renames only what is
    /// switched off ([`Error::Busy`]).
    pub name: Option<String>,
    /// The MTU in bytes.
    pub mtu: Option<u32>,
    /// The MAC address.
    pub mac: Option<MacAddr>,
    /// The alias, at most 255 bytes; the empty one removes it.
    pub alias: Option<String>,
    /// Promiscuous mode (`IFF_PROMISC`).
    pub promiscuous: Option<bool>,
    /// Whether it takes in all multicast frames (`IFF_ALLMULTI`).
    pub all_multicast: Option<bool>,
    /// How many packets may wait to be sent (`IFLA_TXQLEN`).
    pub tx_queue_len: Option<u32>,
    /// The index of the bridge it becomes a port of; 0 takes it out.
    pub master: Option<u32>,
    /// Settings as a bridge's port.
    pub port: Option<PortChange>,
    /// Whether it filters by VLAN, for a bridge.
    pub vlan_filtering: Option<bool>,
    /// How IPv6 link-local addresses are made from now on. The kernel applies this last: set it in a change of its
    /// own before the one that switches the interface on.
    pub addr_gen_mode: Option<AddrGenMode>,
    /// True switches on that IPv4 addresses are announced by gratuitous ARP when the link comes up or its MAC is set
    /// (`IPV4_DEVCONF_ARP_NOTIFY`, the sysctl `arp_notify`).
    pub arp_notify: bool,
}

/// What to change of a bridge's port; what is `None` stays as it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PortChange {
    /// Whether packets may leave by the port they came in.
    pub hairpin: Option<bool>,
    /// Whether it exchanges packets only with ports that are not isolated.
    pub isolated: Option<bool>,
}

/// What `EBUSY` means for a change.
const BUSY: &str = "it is in use: this kernel renames, or changes so, only interfaces that are switched off or free";

impl Netlink {
    /// Changes an interface, with one message for everything. There are two exceptions: the kernel takes port
    /// settings only for a port, so that `master` and `port` together are two messages; and renaming needs the
    /// index, which is looked up where a name is given.
    ///
    /// # Errors
    /// [`Error::NotFound`] where there is no such interface; [`Error::Exists`] where a new name is taken.
    pub fn change_link<'a>(&self, link: impl Into<LinkRef<'a>>, change: &LinkChange) -> Result<(), Error> {
        let mut link = link.into();
        if let (Some(name), LinkRef::Name(old)) = (&change.name, link) {
            check_name(name)?;
            // In RTM_SETLINK without an index, IFLA_IFNAME is the name to find, not the name to give.
            if let Some(found) = self.link(old)? {
                link = LinkRef::Index(found.index);
            }
        }
        match change.port {
            Some(port) if change.master.is_some() => {
                self.send_change(link, &LinkChange { port: None, ..change.clone() })?;
                self.send_change(link, &LinkChange { port: Some(port), ..LinkChange::default() })
            }
            _ => self.send_change(link, change),
        }
    }

    fn send_change(&self, link: LinkRef<'_>, change: &LinkChange) -> Result<(), Error> {
        let mut message = change.message();
        link.apply(&mut message)?;
        // RTM_SETLINK skips IFLA_LINKINFO silently; RTM_NEWLINK without NLM_F_CREATE does everything RTM_SETLINK
        // does, and that.
        let message = if change.port.is_some() || change.vlan_filtering.is_some() {
            RouteNetlinkMessage::NewLink(message)
        } else {
            RouteNetlinkMessage::SetLink(message)
        };
        let hint = match (change.vlan_filtering, change.port) {
            (Some(_), _) => NO_FILTERING,
            (None, Some(_)) => "it is no port of a bridge, or the kernel lacks this setting",
            (None, None) => "its driver does not allow this",
        };
        self.execute(&message, 0, &format_args!("change interface {link} ({change})"))
            .map_err(|error| error.hint(libc::EOPNOTSUPP, hint).hint(libc::EBUSY, BUSY))
    }
}

impl LinkChange {
    fn message(&self) -> LinkMessage {
        let mut message = LinkMessage::default();
        for (wanted, flag) in [
            (self.up, LinkFlags::Up),
            (self.promiscuous, LinkFlags::Promisc),
            (self.all_multicast, LinkFlags::Allmulti),
        ] {
            if let Some(on) = wanted {
                message.header.change_mask |= flag;
                message.header.flags.set(flag, on);
            }
        }
        let attributes = &mut message.attributes;
        attributes.extend(self.name.clone().map(LinkAttribute::IfName));
        attributes.extend(self.mtu.map(LinkAttribute::Mtu));
        attributes.extend(self.tx_queue_len.map(LinkAttribute::TxQueueLen));
        attributes.extend(self.mac.map(|mac| LinkAttribute::Address(mac.octets().to_vec())));
        attributes.extend(self.alias.clone().map(LinkAttribute::IfAlias));
        attributes.extend(self.master.map(LinkAttribute::Controller));
        let mut settings = Vec::new();
        if self.arp_notify {
            let mut conf = InetDevConf::default();
            conf.arp_notify = 1;
            settings.push(AfSpecUnspec::Inet(vec![AfSpecInet::DevConfRequest(conf)]));
        }
        if let Some(mode) = self.addr_gen_mode {
            settings.push(AfSpecUnspec::Inet6(vec![AfSpecInet6::AddrGenMode(mode.into())]));
        }
        if !settings.is_empty() {
            attributes.push(LinkAttribute::AfSpecUnspec(settings));
        }
        let mut info = Vec::new();
        if let Some(on) = self.vlan_filtering {
            info.push(LinkInfo::Kind(InfoKind::Bridge));
            info.push(LinkInfo::Data(InfoData::Bridge(vec![InfoBridge::VlanFiltering(on)])));
        }
        if let Some(PortChange { hairpin, isolated }) = self.port {
            let settings =
                hairpin.map(InfoBridgePort::HairpinMode).into_iter().chain(isolated.map(InfoBridgePort::Isolated));
            info.push(LinkInfo::PortKind(InfoPortKind::Bridge));
            info.push(LinkInfo::PortData(InfoPortData::BridgePort(settings.collect())));
        }
        if !info.is_empty() {
            attributes.push(LinkAttribute::LinkInfo(info));
        }
        message
    }
}

/// What is to change, for an error's text: `up, mtu 1400`.
impl fmt::Display for LinkChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let on = |on: bool| if on { "on" } else { "off" };
        let port = self.port.unwrap_or_default();
        let changes = [
            self.up.map(|up| if up { "up".to_owned() } else { "down".to_owned() }),
            self.name.as_ref().map(|name| format!("name {name}")),
            self.mtu.map(|mtu| format!("mtu {mtu}")),
            self.mac.map(|mac| format!("mac {mac}")),
            self.alias.as_ref().map(|alias| format!("alias {alias:?}")),
            self.promiscuous.map(|wanted| format!("promiscuous {}", on(wanted))),
            self.all_multicast.map(|wanted| format!("all multicast {}", on(wanted))),
            self.tx_queue_len.map(|packets| format!("txqueuelen {packets}")),
            self.master.map(|master| format!("master #{master}")),
            port.hairpin.map(|wanted| format!("hairpin {}", on(wanted))),
            port.isolated.map(|wanted| format!("isolated {}", on(wanted))),
            self.vlan_filtering.map(|wanted| format!("vlan filtering {}", on(wanted))),
            self.addr_gen_mode.map(|mode| format!("address generation {mode:?}")),
            self.arp_notify.then(|| "ARP announcements on".to_owned()),
        ];
        f.write_str(&changes.into_iter().flatten().collect::<Vec<_>>().join(", "))
    }
}

impl From<AddrGenMode> for In6AddrGenMode {
    fn from(mode: AddrGenMode) -> Self {
        match mode {
            AddrGenMode::Eui64 => In6AddrGenMode::Eui64,
            AddrGenMode::None => In6AddrGenMode::None,
            AddrGenMode::StablePrivacy => In6AddrGenMode::StablePrivacy,
            AddrGenMode::Random => In6AddrGenMode::Random,
            AddrGenMode::Other(number) => In6AddrGenMode::Other(number),
        }
    }
}
