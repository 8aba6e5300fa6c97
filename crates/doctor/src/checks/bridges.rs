//! Bridges: whose name it is, whose addresses it has.

use ipnetwork::IpNetwork;

use super::addresses::{Given, given};
use crate::facts::Facts;
use crate::finding::{Finding, Severity};
use crate::network::{Network, Plugin};

/// The bridge plugin's own default.
const DEFAULT: &str = "cni0";

/// The bridge of a plugin; `None` for one that uses none.
pub(super) fn bridge(plugin: &Plugin) -> Option<&str> {
    let name = Some(plugin.text("bridge")).filter(|name| !name.is_empty());
    (plugin.kind == "bridge").then(|| name.unwrap_or(DEFAULT))
}

/// Whether the bridge is to have the gateway's address.
pub(super) fn is_gateway(plugin: &Plugin) -> bool {
    plugin.is_set("isGateway") || plugin.is_set("isDefaultGateway")
}

pub(super) fn check(network: &Network, facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (plugin, name) in network.plugins.iter().filter_map(|plugin| Some((plugin, bridge(plugin)?))) {
        let Some(found) = facts.interfaces.iter().flatten().find(|interface| interface.name == name) else { continue };
        if !found.is_bridge {
            let what = format!("the node has an interface {name}, but it is a {} interface, not a bridge", found.kind);
            let advice = "name another bridge, or remove that interface";
            findings.push(plugin.finding(Severity::Error, what).key("bridge").advice(advice));
        } else if is_gateway(plugin) && !plugin.is_set("forceAddress") && !plugin.config.contains_key("vlan") {
            findings.extend(other_address(plugin, name, &found.addresses));
        }
    }
    findings
}

/// The bridge has an address that the plugin refuses to add the gateway's to.
fn other_address(plugin: &Plugin, name: &str, present: &[IpNetwork]) -> Option<Finding> {
    let given = given(plugin);
    let wanted: Vec<IpNetwork> = given.iter().map(gateway).collect();
    given.iter().filter(|given| !present.contains(&gateway(given))).find_map(|given| {
        let found = present.iter().find(|found| !wanted.contains(found) && conflicts(**found, gateway(given)))?;
        let what = format!("bridge {name} has the address {found}, but the gateway is to be {}", gateway(given));
        let advice = "remove the address, name another bridge, or set forceAddress to have it replaced";
        Some(plugin.finding(Severity::Error, what).key(&given.key).advice(advice))
    })
}

/// The plugin's rule (plugins/bridge/src/bridge.rs): one IPv4 subnet on a bridge, and IPv6 subnets that do not overlap.
fn conflicts(present: IpNetwork, wanted: IpNetwork) -> bool {
    match (present, wanted) {
        (IpNetwork::V4(_), IpNetwork::V4(_)) => true,
        (IpNetwork::V6(present), IpNetwork::V6(wanted)) => {
            !present.ip().is_unicast_link_local() && (present.contains(wanted.ip()) || wanted.contains(present.ip()))
        }
        _ => false,
    }
}

fn gateway(given: &Given) -> IpNetwork {
    given.range.with_prefix(given.range.gateway())
}

/// One bridge that two networks want other addresses for.
pub(super) fn pair(network: &Network, other: &Network) -> Vec<Finding> {
    let mut findings = Vec::new();
    for plugin in network.plugins.iter().filter(|plugin| bridge(plugin).is_some() && is_gateway(plugin)) {
        for others in other.plugins.iter().filter(|others| bridge(others) == bridge(plugin) && is_gateway(others)) {
            // Networks of different VLANs share a bridge and nothing else.
            if plugin.config.get("vlan") != others.config.get("vlan") {
                continue;
            }
            let gateways = |plugin: &Plugin| given(plugin).iter().map(gateway).collect::<Vec<_>>();
            let (ours, theirs) = (gateways(plugin), gateways(others));
            let only = |of: &[IpNetwork], not: &[IpNetwork]| {
                of.iter().copied().filter(|it| !not.contains(it)).collect::<Vec<_>>()
            };
            let (only_ours, only_theirs) = (only(&ours, &theirs), only(&theirs, &ours));
            let pairs = only_ours.iter().flat_map(|ours| only_theirs.iter().map(move |theirs| (*ours, *theirs)));
            let Some((ours, theirs)) = pairs.into_iter().find(|(ours, theirs)| conflicts(*theirs, *ours)) else {
                continue;
            };
            let what = format!(
                "the bridge is to have {ours}, but in network {:?} ({}) it is to have {theirs}",
                other.name,
                other.file.display()
            );
            let advice = "pods of the network that comes second get none; name another bridge";
            findings.push(plugin.finding(Severity::Error, what).key("bridge").advice(advice));
        }
    }
    findings
}
