//! Chains: where rules hang, and from where packets enter them.

use std::fmt;

/// Where in the packet's way a base chain is called (`NF_INET_*`, `NF_BR_*`, `NF_NETDEV_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Hook {
    /// Before the routing decision.
    Prerouting,
    /// On the way to a local socket.
    Input,
    /// Between two interfaces.
    Forward,
    /// From a local socket.
    Output,
    /// After the routing decision.
    Postrouting,
    /// As the device receives (netdev and inet; needs [`Chain::device`]).
    Ingress,
    /// As the device sends (netdev only, kernel 5.16; needs [`Chain::device`]).
    Egress,
}

impl Hook {
    pub(crate) fn number(self, family: crate::Family) -> u32 {
        match (self, family) {
            (Hook::Ingress, crate::Family::Netdev) | (Hook::Prerouting, _) => 0,
            (Hook::Egress, _) | (Hook::Input, _) => 1,
            (Hook::Forward, _) => 2,
            (Hook::Output, _) => 3,
            (Hook::Postrouting, _) => 4,
            (Hook::Ingress, _) => 5,
        }
    }

    pub(crate) fn from_number(number: u32, family: crate::Family) -> Option<Hook> {
        match (number, family) {
            (0, crate::Family::Netdev) => Some(Hook::Ingress),
            (1, crate::Family::Netdev) => Some(Hook::Egress),
            (0, _) => Some(Hook::Prerouting),
            (1, _) => Some(Hook::Input),
            (2, _) => Some(Hook::Forward),
            (3, _) => Some(Hook::Output),
            (4, _) => Some(Hook::Postrouting),
            (5, _) => Some(Hook::Ingress),
            _ => None,
        }
    }
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Hook::Prerouting => "prerouting",
            Hook::Input => "input",
            Hook::Forward => "forward",
            Hook::Output => "output",
            Hook::Postrouting => "postrouting",
            Hook::Ingress => "ingress",
            Hook::Egress => "egress",
        })
    }
}

/// What a base chain may do (`NFTA_CHAIN_TYPE`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChainType {
    /// Accept and drop.
    Filter,
    /// Address translation; sees only the first packet of a connection.
    Nat,
    /// Filter in output whose changes to the packet make it be routed again.
    Route,
}

impl ChainType {
    pub(crate) fn name(self) -> &'static str {
        match self {
            ChainType::Filter => "filter",
            ChainType::Nat => "nat",
            ChainType::Route => "route",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<ChainType> {
        [ChainType::Filter, ChainType::Nat, ChainType::Route].into_iter().find(|kind| kind.name() == name)
    }
}

/// What becomes of a packet that no rule of a base chain decided (`NFTA_CHAIN_POLICY`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Policy {
    /// It goes on.
    Accept,
    /// It is dropped.
    Drop,
}

impl Policy {
    pub(crate) fn number(self) -> u32 {
        match self {
            Policy::Drop => 0,
            Policy::Accept => 1,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Policy::Accept => "accept",
            Policy::Drop => "drop",
        }
    }
}

/// Order of base chains on one hook, lower first (`NF_IP_PRI_*`, `NF_BR_PRI_*`).
pub mod priority {
    /// Before connection tracking.
    pub const RAW: i32 = -300;
    /// Packet changes.
    pub const MANGLE: i32 = -150;
    /// Destination translation (ip, ip6, inet).
    pub const DSTNAT: i32 = -100;
    /// Filtering.
    pub const FILTER: i32 = 0;
    /// Mandatory access control.
    pub const SECURITY: i32 = 50;
    /// Source translation (ip, ip6, inet).
    pub const SRCNAT: i32 = 100;
    /// Destination translation in the bridge family.
    pub const BRIDGE_DSTNAT: i32 = -300;
    /// Filtering in the bridge family.
    pub const BRIDGE_FILTER: i32 = -200;
}

/// How a base chain hangs in the packet's way.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BaseChain {
    /// What the chain may do.
    pub kind: ChainType,
    /// Where it is called.
    pub hook: Hook,
    /// When, among the chains of that hook ([`priority`]).
    pub priority: i32,
    /// What becomes of packets no rule decided.
    pub policy: Policy,
    /// The device of an ingress or egress chain.
    pub device: Option<String>,
}

/// A chain to create.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Chain {
    /// At most 255 bytes.
    pub name: String,
    /// Present for a base chain; without it the chain is only reached by jump and goto.
    pub base: Option<BaseChain>,
    /// Shown by `nft list` (`NFTNL_UDATA_CHAIN_COMMENT`); at most [`MAX_COMMENT`](crate::MAX_COMMENT) bytes.
    pub comment: Option<String>,
}

impl Chain {
    /// A chain that is only reached by jump and goto.
    pub fn regular(name: impl Into<String>) -> Chain {
        Chain { name: name.into(), base: None, comment: None }
    }

    /// A chain called at a hook, with policy accept.
    pub fn base(name: impl Into<String>, kind: ChainType, hook: Hook, priority: i32) -> Chain {
        let base = BaseChain { kind, hook, priority, policy: Policy::Accept, device: None };
        Chain { name: name.into(), base: Some(base), comment: None }
    }

    /// Sets the policy of a base chain; without effect on a regular one.
    pub fn policy(mut self, policy: Policy) -> Chain {
        if let Some(base) = &mut self.base {
            base.policy = policy;
        }
        self
    }

    /// Sets the device of an ingress or egress chain; without effect on a regular one.
    pub fn device(mut self, device: impl Into<String>) -> Chain {
        if let Some(base) = &mut self.base {
            base.device = Some(device.into());
        }
        self
    }

    /// Sets the comment, which only a new chain takes over.
    pub fn comment(mut self, comment: impl Into<String>) -> Chain {
        self.comment = Some(comment.into());
        self
    }
}

impl fmt::Display for BaseChain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "type {} hook {}", self.kind.name(), self.hook)?;
        if let Some(device) = &self.device {
            write!(f, " device {device:?}")?;
        }
        write!(f, " priority {}; policy {};", self.priority, self.policy.name())
    }
}

/// As in `nft add chain`: `postrouting { type nat hook postrouting priority 100; policy accept; }`.
impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        match (&self.base, &self.comment) {
            (None, None) => Ok(()),
            (Some(base), None) => write!(f, " {{ {base} }}"),
            (None, Some(comment)) => write!(f, " {{ comment \"{comment}\"; }}"),
            (Some(base), Some(comment)) => write!(f, " {{ {base} comment \"{comment}\"; }}"),
        }
    }
}
