//! What the checks know about the node. What is `None` is not known, and nothing is said about it.

mod gather;
mod probe;

use std::collections::BTreeSet;
use std::path::PathBuf;

use ipnetwork::IpNetwork;

/// The node, at one moment.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Its interfaces.
    pub interfaces: Option<Vec<Interface>>,
    /// Its routes, without the default ones.
    pub routes: Option<Vec<NodeRoute>>,
    /// Where plugins are looked for, and the names of the executables there.
    pub programs: Option<(PathBuf, BTreeSet<String>)>,
    /// `net.ipv4.ip_forward`.
    pub forwards_v4: Option<bool>,
    /// `net.ipv6.conf.all.forwarding`.
    pub forwards_v6: Option<bool>,
    /// The chains that drop what is forwarded unless a rule accepts it, such as `iptables' FORWARD`.
    pub drops_forwarded: Vec<String>,
    /// What the kernel cannot do, and what it says about it.
    pub missing: Vec<(Feature, String)>,
}

/// An interface of the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its kind, as `ip link` names it.
    pub kind: String,
    /// Whether it is a bridge.
    pub is_bridge: bool,
    /// Its addresses, with the prefix lengths of their networks.
    pub addresses: Vec<IpNetwork>,
}

/// A route of the node's main table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeRoute {
    /// The destination.
    pub dst: IpNetwork,
    /// The name of the interface it leads to.
    pub interface: String,
}

/// A part of the kernel that a plugin needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Feature {
    /// Bridges.
    Bridge,
    /// VLAN filtering of bridges.
    VlanFiltering,
    /// veth pairs.
    Veth,
    /// ifb devices.
    Ifb,
    /// The tbf queueing discipline.
    Tbf,
    /// nf_tables, with the inet family.
    NfTables,
}

impl Feature {
    /// For people: what it is, and the kernel's option or module.
    pub(crate) const fn about(self) -> &'static str {
        match self {
            Feature::Bridge => "bridges (module bridge)",
            Feature::VlanFiltering => "VLAN filtering of bridges (CONFIG_BRIDGE_VLAN_FILTERING)",
            Feature::Veth => "veth pairs (module veth)",
            Feature::Ifb => "ifb devices (module ifb)",
            Feature::Tbf => "the tbf queueing discipline (module sch_tbf)",
            Feature::NfTables => "nf_tables (module nf_tables, CONFIG_NF_TABLES_INET)",
        }
    }
}
