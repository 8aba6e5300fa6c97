//! The order of the plugins, and what the runtime passes on to them.

use serde_json::Value;

use crate::finding::{Finding, Severity};
use crate::nearest;
use crate::network::{Network, Plugin};

/// Plugins that work on what one before them has made.
const CHAINED: [&str; 6] = ["portmap", "firewall", "tuning", "bandwidth", "sbr", "vrf"];
/// Plugins that make the pod's interface. Those of others may do either.
const MAKERS: [&str; 7] = ["bridge", "ptp", "macvlan", "ipvlan", "vlan", "host-device", "tap"];
/// Capabilities that runtimes know (CNI conventions).
const CAPABILITIES: [&str; 9] =
    ["portMappings", "bandwidth", "ipRanges", "dns", "ips", "mac", "infinibandGUID", "deviceID", "aliases"];

pub(super) fn check(network: &Network) -> Vec<Finding> {
    let mut findings: Vec<Finding> = order(network).chain(twice(network)).collect();
    findings.extend(network.plugins.iter().flat_map(capabilities));
    findings
}

fn order(network: &Network) -> impl Iterator<Item = Finding> {
    let is_chained = |plugin: &&Plugin| CHAINED.contains(&plugin.kind.as_str());
    let first = network.plugins.iter().find(|plugin| !is_chained(plugin) && plugin.kind != "loopback");
    let before =
        network.plugins.iter().filter(is_chained).filter(move |plugin| first.is_none_or(|it| plugin.index < it.index));
    before.map(move |plugin| {
        let what = "needs the result of a plugin that makes the pod's interface, and none comes before it";
        let advice = match first {
            Some(maker) => format!("put it after {}", maker.kind),
            None => "put such a plugin, bridge say, before it".to_owned(),
        };
        plugin.finding(Severity::Error, what).advice(advice)
    })
}

fn twice(network: &Network) -> impl Iterator<Item = Finding> {
    let is_maker = |plugin: &Plugin| MAKERS.contains(&plugin.kind.as_str());
    network.plugins.iter().filter_map(move |plugin| {
        let mut before = network.plugins[..plugin.index].iter();
        if is_maker(plugin) {
            let other = before.find(|other| is_maker(other))?;
            let what = format!("makes the pod's interface, which {} before it has made already", other.kind);
            Some(plugin.finding(Severity::Error, what).advice("one of the two is too much: a list makes one interface"))
        } else {
            before.find(|other| other.kind == plugin.kind && CHAINED.contains(&plugin.kind.as_str()))?;
            Some(plugin.finding(Severity::Warning, "is in the list twice").advice("put what they say into one"))
        }
    })
}

/// Whether it limits nothing by its own config.
fn has_no_limits(plugin: &Plugin) -> bool {
    !["ingressRate", "egressRate"].iter().any(|key| plugin.config.contains_key(*key))
}

fn capabilities(plugin: &Plugin) -> Vec<Finding> {
    let mut findings = Vec::new();
    let needed = match plugin.kind.as_str() {
        "portmap" => Some(("portMappings", "no port is ever mapped")),
        "bandwidth" if has_no_limits(plugin) => Some(("bandwidth", "nothing is ever limited")),
        _ => None,
    };
    if let Some((capability, otherwise)) = needed
        && !has_capability(plugin, capability)
    {
        let what = format!("the runtime is not asked for {capability}: {otherwise}");
        let advice = format!("add \"capabilities\": {{ \"{capability}\": true }}");
        findings.push(plugin.finding(Severity::Warning, what).key("capabilities").advice(advice));
    }
    let named = plugin.config.get("capabilities").and_then(Value::as_object);
    for name in named.into_iter().flat_map(|named| named.keys()).filter(|name| !CAPABILITIES.contains(&name.as_str())) {
        if let Some(near) = nearest(name, CAPABILITIES) {
            let what = "is no capability that runtimes know";
            let finding = plugin.finding(Severity::Warning, what).key(format!("capabilities.{name}"));
            findings.push(finding.advice(format!("did you mean {near:?}?")));
        }
    }
    findings
}

/// Whether the runtime is asked for a capability.
pub(super) fn has_capability(plugin: &Plugin, name: &str) -> bool {
    plugin.config.get("capabilities").and_then(|all| all.get(name)).and_then(Value::as_bool).unwrap_or_default()
}
