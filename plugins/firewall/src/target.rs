//! The pod that a call is about, as far as a firewall is concerned: addresses, owner, and the bridge to fence in.

use std::net::IpAddr;

use cni::{AttachmentCall, CniResult, Error, ErrorCode};
use pod::Owner;

use crate::config::{Config, Policy};

/// A pod whose traffic is let through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Whose the rules are, as it stands with each of them.
    pub owner: String,
    /// The pod's addresses, each once.
    pub addresses: Vec<IpAddr>,
    /// What `ingressPolicy` asks for, unless it is `open`.
    pub fence: Option<Fence>,
}

/// A bridge that pods of other fenced bridges do not reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fence {
    /// The interfaces by which the bridge's packets are routed: the bridge, and the gateway's interface in a VLAN.
    pub bridges: Vec<String>,
    /// The pod's bridge ports.
    pub ports: Vec<String>,
    /// Whether pods of the same bridge do not reach each other, either.
    pub isolated: bool,
}

impl Target {
    /// Reads what the plugins before made.
    ///
    /// # Errors
    /// Code 7 where a policy needs a bridge and `prevResult` has none, or where the names are too long to be recorded.
    pub fn of(call: &AttachmentCall, config: &Config, result: &CniResult) -> Result<Target, Error> {
        let mut addresses: Vec<IpAddr> = result.ips.iter().map(|ip| ip.address.ip()).collect();
        addresses.sort();
        addresses.dedup();
        let fence = match config.policy {
            Policy::Open => None,
            policy => Some(Fence::of(call, result, policy == Policy::Isolated)?),
        };
        Ok(Target { owner: alias(&Owner::of(call))?, addresses, fence })
    }
}

impl Fence {
    fn of(call: &AttachmentCall, result: &CniResult, isolated: bool) -> Result<Fence, Error> {
        let mut of_node =
            result.interfaces.iter().filter(|known| known.sandbox.is_empty()).map(|known| known.name.as_str());
        let Some(bridge) = of_node.next().filter(|name| cni::validate::interface_name(name).is_ok()) else {
            let msg = "ingressPolicy needs a bridge, but prevResult lists no interface of the node";
            return Err(Error::new(
                ErrorCode::INVALID_CONFIG,
                format!("network {:?}: {msg}", call.network.config.name),
            )
            .with_details("in the conflist, put firewall after the bridge plugin, or take ingressPolicy out"));
        };
        // The bridge plugin names its gateway in a VLAN so.
        let in_vlan = |name: &&str| name.strip_prefix(bridge).is_some_and(|rest| rest.starts_with('.'));
        let (vlans, ports): (Vec<&str>, Vec<&str>) = of_node.partition(in_vlan);
        let owned = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect();
        let bridges = owned([vec![bridge], vlans].concat());
        Ok(Fence { bridges, ports: owned(ports), isolated })
    }
}

/// The owner's text, as rules and elements carry it.
///
/// # Errors
/// Code 7 when it is longer than the kernel keeps.
pub fn alias(owner: &Owner) -> Result<String, Error> {
    owner.alias().filter(|alias| alias.len() <= nft::MAX_COMMENT).ok_or_else(|| {
        let msg = format!("the names of network {:?} and {} are too long together", owner.network, owner.attachment);
        Error::new(ErrorCode::INVALID_CONFIG, msg).with_details(format!(
            "with each rule the kernel keeps its owner's name, of at most {} bytes; choose a shorter network name",
            nft::MAX_COMMENT
        ))
    })
}
