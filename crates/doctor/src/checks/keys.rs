//! What the plugins say of their configs: wrong values, and keys that none of them reads.

use cni::{NetworkCall, Suite};

use crate::finding::{Finding, Severity};
use crate::nearest;
use crate::network::{Network, Plugin};

pub(super) fn check(network: &Network, suite: Suite) -> Vec<Finding> {
    network.plugins.iter().flat_map(|plugin| of_plugin(network, plugin, suite)).collect()
}

fn of_plugin(network: &Network, plugin: &Plugin, suite: Suite) -> Vec<Finding> {
    // Of plugins that are not ours nothing is known.
    let Some(ours) = suite(&plugin.kind) else { return Vec::new() };
    let mut findings = Vec::new();
    let wrong = |error: cni::Error| plugin.finding(Severity::Error, error.to_string());
    let call = match NetworkCall::to_examine(plugin.to_bytes(network)) {
        Ok(call) => call,
        Err(error) => return vec![wrong(error)],
    };
    findings.extend(ours.read_config(&call).err().map(wrong));
    let ipam = plugin.ipam().and_then(suite);
    if let Some(ipam) = ipam
        && let Err(error) = ipam.read_config(&call)
        && !gets_ranges_later(plugin)
    {
        findings.push(wrong(error).key("ipam"));
    }
    // An IPAM plugin that is not ours knows keys that we do not.
    let is_about_us =
        |key: &&cni::UnknownKey| ipam.is_some() || !(key.place == "ipam" || key.place.starts_with("ipam."));
    for key in call.unknown_keys().iter().filter(is_about_us) {
        let near = nearest(&key.key, key.known.iter().copied());
        let advice = match near {
            Some(near) => format!("did you mean {near:?}?"),
            None if key.place.is_empty() => "remove it, or put it where it belongs".to_owned(),
            None => format!("{} may have: {}", key.place, key.known.join(", ")),
        };
        findings.push(
            plugin
                .finding(Severity::Warning, "is not known to the plugin and has no effect")
                .key(key.path())
                .advice(advice),
        );
    }
    findings
}

/// Whether it has no ranges because the runtime brings them with each call.
fn gets_ranges_later(plugin: &Plugin) -> bool {
    let has = |key: &str| plugin.config.get("ipam").is_some_and(|ipam| ipam.get(key).is_some());
    super::chain::has_capability(plugin, "ipRanges") && !has("ranges") && !has("subnet")
}
