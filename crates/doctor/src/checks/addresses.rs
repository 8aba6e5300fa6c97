//! Which addresses a network gives out, and who else has them.

use ipam::Range;
use ipnetwork::IpNetwork;
use serde_json::Value;

use super::bridges::bridge;
use crate::facts::Facts;
use crate::finding::{Finding, Severity};
use crate::network::{Network, Plugin};

/// Fewer addresses than this are soon gone: a pod that is replaced needs a second one for a while.
const FEW: u128 = 16;

/// A range that host-local gives out, and its key.
pub(super) struct Given {
    pub(super) key: String,
    pub(super) range: Range,
}

/// The ranges of a plugin's config, as far as they are right: the plugin says itself what is not (keys.rs).
pub(super) fn given(plugin: &Plugin) -> Vec<Given> {
    let Some(ipam) = plugin.config.get("ipam").filter(|_| plugin.ipam() == Some("host-local")) else {
        return Vec::new();
    };
    let items = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let sets = items(&ipam["ranges"]).into_iter().enumerate();
    let keyed = sets.flat_map(|(set, ranges)| {
        items(&ranges).into_iter().enumerate().map(move |(i, range)| (format!("ipam.ranges[{set}][{i}]"), range))
    });
    let single = std::iter::once(("ipam".to_owned(), ipam.clone()));
    single.chain(keyed).filter_map(|(key, value)| Some(Given { key, range: range(&value)? })).collect()
}

fn range(keys: &Value) -> Option<Range> {
    let address = |key: &str| keys[key].as_str().and_then(|text| text.parse().ok());
    let subnet: IpNetwork = keys["subnet"].as_str()?.parse().ok()?;
    Range::new(subnet, address("rangeStart"), address("rangeEnd"), address("gateway")).ok()
}

pub(super) fn check(network: &Network, facts: &Facts) -> Vec<Finding> {
    network
        .plugins
        .iter()
        .flat_map(|plugin| given(plugin).into_iter().flat_map(|given| of_range(plugin, &given, facts)))
        .collect()
}

fn of_range(plugin: &Plugin, given: &Given, facts: &Facts) -> Vec<Finding> {
    let Given { key, range } = given;
    let mut findings = Vec::new();
    let (subnet, gateway) = (range.subnet(), range.gateway());
    if !subnet.contains(gateway) {
        let what = format!("the gateway {gateway} is not in its subnet {subnet}");
        findings.push(
            plugin.finding(Severity::Note, what).key(key).advice("right for a link-local gateway, a slip otherwise"),
        );
    }
    let inner = u128::from(range.contains(gateway));
    if range.capacity() < FEW {
        let free = range.capacity();
        let what = format!("{}-{} has room for {free} pods only", range.start(), range.end());
        let advice = if inner == 0 {
            "give a larger range"
        } else {
            "give a larger range (the gateway needs an address of it, too)"
        };
        findings.push(plugin.finding(Severity::Warning, what).key(key).advice(advice));
    }
    findings.extend(taken(plugin, given, facts));
    findings
}

/// Addresses of the node, and routes to elsewhere, that lie in the subnet.
fn taken(plugin: &Plugin, given: &Given, facts: &Facts) -> Vec<Finding> {
    let subnet = given.range.subnet();
    let own = bridge(plugin);
    // A bridge's VLAN has an interface of its own, and the pods may be on others behind the bridge.
    let is_own =
        |name: &str| own.is_some_and(|own| name == own || name.strip_prefix(own).is_some_and(|it| it.starts_with('.')));
    let mut findings = Vec::new();
    let mut told = Vec::new();
    for interface in facts.interfaces.iter().flatten().filter(|interface| !is_own(&interface.name)) {
        for address in interface.addresses.iter().filter(|address| overlap(**address, subnet)) {
            told.push(interface.name.as_str());
            let what = format!("{subnet} is also the network of the node's {} ({address})", interface.name);
            let advice =
                "pods would get addresses that others have there, and could not reach them; choose another subnet";
            findings.push(plugin.finding(Severity::Error, what).key(&given.key).advice(advice));
        }
    }
    for route in facts.routes.iter().flatten().filter(|route| !is_own(&route.interface)) {
        // A route to a single host is how ptp and others lead to a pod.
        let is_host = route.dst.prefix() == if route.dst.is_ipv4() { 32 } else { 128 };
        if overlap(route.dst, subnet) && !is_host && !told.contains(&route.interface.as_str()) {
            let what = format!("{subnet} overlaps with the node's route to {} by {}", route.dst, route.interface);
            let advice = "who is behind that route and the pods cannot reach each other; choose another subnet";
            findings.push(plugin.finding(Severity::Warning, what).key(&given.key).advice(advice));
        }
    }
    findings
}

/// Ranges that both networks give out, each without knowing of the other.
pub(super) fn pair(network: &Network, other: &Network) -> Vec<Finding> {
    let mut findings = Vec::new();
    for plugin in &network.plugins {
        for given in given(plugin) {
            for others in &other.plugins {
                let overlapping = |theirs: &Given| overlap(theirs.range.subnet(), given.range.subnet());
                let Some(theirs) = self::given(others).into_iter().find(overlapping) else { continue };
                let whose = format!("network {:?} ({})", other.name, other.file.display());
                let finding = match (given.range.overlaps(&theirs.range), bridge(plugin) == bridge(others)) {
                    (true, true) => {
                        let what = format!("{} is given out by {whose}, too", given.range.subnet());
                        let advice = "two pods on one bridge would get one address; give each network its own part";
                        plugin.finding(Severity::Error, what).advice(advice)
                    }
                    // Different parts of one subnet on one bridge are how a network is split.
                    (false, true) => continue,
                    (_, false) => {
                        let what = format!("{} is on another bridge, too, by {whose}", given.range.subnet());
                        plugin
                            .finding(Severity::Error, what)
                            .advice("the node can have a route to one of them only; choose another subnet")
                    }
                };
                findings.push(finding.key(&given.key));
            }
        }
    }
    findings
}

fn overlap(one: IpNetwork, other: IpNetwork) -> bool {
    one.contains(other.network()) || other.contains(one.network())
}
