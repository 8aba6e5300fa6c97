//! The checks, one file a subject. Each is a function of what was read and of the facts.

mod addresses;
mod bridges;
mod chain;
mod directory;
mod keys;
mod node;

use cni::Suite;

use crate::facts::Facts;
use crate::finding::Finding;
use crate::network::Network;

pub(crate) use directory::check as directory;

/// A network by itself, on this node.
pub(crate) fn alone(network: &Network, facts: &Facts, suite: Suite) -> Vec<Finding> {
    let mut findings = keys::check(network, suite);
    findings.extend(chain::check(network));
    findings.extend(addresses::check(network, facts));
    findings.extend(bridges::check(network, facts));
    findings.extend(node::check(network, facts));
    findings
}

/// What is wrong with `network` because of `other` of the same directory, which comes before it or after.
pub(crate) fn pair(network: &Network, other: &Network, other_is_first: bool) -> Vec<Finding> {
    // The runtime knows only one of them.
    if network.name == other.name {
        return directory::same_name(network, other, other_is_first).into_iter().collect();
    }
    let mut findings = addresses::pair(network, other);
    findings.extend(bridges::pair(network, other));
    findings
}

#[cfg(test)]
mod tests;
