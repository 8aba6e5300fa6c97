//! What the node must have: programs, the kernel's features, forwarding.

use super::bridges::is_gateway;
use crate::facts::{Facts, Feature};
use crate::finding::{Finding, Severity};
use crate::nearest;
use crate::network::{Network, Plugin};

pub(super) fn check(network: &Network, facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    for plugin in &network.plugins {
        findings.extend(programs(plugin, facts));
        findings.extend(features(plugin, facts));
        findings.extend(forwarding(network, plugin, facts));
    }
    findings
}

fn programs(plugin: &Plugin, facts: &Facts) -> Vec<Finding> {
    let Some((dir, programs)) = &facts.programs else { return Vec::new() };
    let kinds = [("type", Some(plugin.kind.as_str())), ("ipam.type", plugin.ipam())];
    let missing = kinds.into_iter().filter_map(|(key, kind)| Some((key, kind?)));
    let missing = missing.filter(|(_, kind)| !kind.is_empty() && !programs.contains(*kind));
    let finding = |(key, kind): (&str, &str)| {
        let near = nearest(kind, programs.iter().map(String::as_str));
        let advice = match near {
            Some(near) => format!("did you mean {near:?}? Otherwise install it"),
            None => "install it, or name the runtime's directory of plugins with --bin-dir".to_owned(),
        };
        plugin.finding(Severity::Error, format!("{} has no plugin {kind:?}", dir.display())).key(key).advice(advice)
    };
    missing.map(finding).collect()
}

/// What the plugin needs of the kernel; false for what it can do without.
fn needs(plugin: &Plugin) -> Vec<(Feature, bool)> {
    let native_only = ["backend", "ipMasqBackend"].iter().any(|key| plugin.text(key) == "nftables");
    match plugin.kind.as_str() {
        "bridge" => {
            let mut needs = vec![(Feature::Bridge, true), (Feature::Veth, true)];
            let has_vlan = |key: &str| plugin.config.get(key).is_some_and(|value| *value != 0 && !value.is_null());
            if has_vlan("vlan") || has_vlan("vlanTrunk") {
                needs.push((Feature::VlanFiltering, true));
            }
            if plugin.is_set("macspoofchk") || plugin.is_set("ipMasq") {
                needs.push((Feature::NfTables, native_only || plugin.is_set("macspoofchk")));
            }
            needs
        }
        "portmap" | "firewall" if plugin.text("backend") != "iptables" => vec![(Feature::NfTables, native_only)],
        "bandwidth" => vec![(Feature::Ifb, true), (Feature::Tbf, true)],
        "ptp" => vec![(Feature::Veth, true)],
        _ => Vec::new(),
    }
}

fn features(plugin: &Plugin, facts: &Facts) -> Vec<Finding> {
    let missing = |(feature, is_needed): (Feature, bool)| {
        let (_, why) = facts.missing.iter().find(|(missing, _)| *missing == feature)?;
        let what = format!("the kernel has no {}: {why}", feature.about());
        let finding = if is_needed {
            plugin.finding(Severity::Error, what).advice("load the module, or use a kernel that has it")
        } else {
            plugin.finding(Severity::Note, what).advice("iptables is used in its place")
        };
        Some(finding)
    };
    needs(plugin).into_iter().filter_map(missing).collect()
}

fn forwarding(network: &Network, plugin: &Plugin, facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    if plugin.kind != "bridge" || !is_gateway(plugin) {
        return findings;
    }
    let given = super::addresses::given(plugin);
    for (is_v4, forwards, family) in [(true, facts.forwards_v4, "IPv4"), (false, facts.forwards_v6, "IPv6")] {
        if forwards == Some(false) && given.iter().any(|given| given.range.subnet().is_ipv4() == is_v4) {
            let what = format!("the node does not forward {family} yet; the first pod turns it on");
            findings.push(plugin.finding(Severity::Note, what).advice("make it stay on after a boot with sysctl.d"));
        }
    }
    if !facts.drops_forwarded.is_empty() && !network.plugins.iter().any(|plugin| plugin.kind == "firewall") {
        let what =
            format!("the node drops what it forwards unless a rule accepts it: {}", facts.drops_forwarded.join(", "));
        let advice = "pods reach nobody beyond their bridge unless something else lets them; put { \"type\": \"firewall\" } after this plugin";
        findings.push(plugin.finding(Severity::Warning, what).advice(advice));
    }
    findings
}
