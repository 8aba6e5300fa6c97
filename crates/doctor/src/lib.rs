//! What is wrong with network configs and the node they are for, found before a pod needs them.
//!
//! The facts about the node are gathered once ([`Facts::gather`]); the checks are functions of configs and facts, and look at
//! nothing else. What is not known about the node is `None` in the facts, and not checked.
//!
//! | file | what it knows |
//! | --- | --- |
//! | `network.rs` | a config as a runtime reads it, with all of its mistakes at once |
//! | `facts.rs`, `facts/` | the node: links, routes, plugins, the kernel's features |
//! | `checks/` | one file a subject |
//! | `finding.rs` | what was found, for people and for programs |

mod checks;
mod facts;
mod finding;
mod nearest;
mod network;

use std::path::Path;

use cni::Suite;

pub use facts::{Facts, Feature, Interface, NodeRoute};
pub use finding::{Finding, Severity, text};
pub use nearest::nearest;
pub use network::{Document, documents, is_config};

/// Checks the configs in `documents`, which are all that are in their directory, in the order of their names, against
/// each other and the node. Findings are about those that `wanted` chooses. `suite` has the plugins whose keys are known.
pub fn check(documents: &[Document], wanted: &dyn Fn(&Path) -> bool, facts: &Facts, suite: Suite) -> Vec<Finding> {
    let read: Vec<_> = documents.iter().map(network::read).collect();
    let mut findings = Vec::new();
    for (at, (document, (network, mistakes))) in documents.iter().zip(&read).enumerate() {
        if !wanted(&document.file) {
            continue;
        }
        findings.extend(mistakes.iter().cloned());
        let Some(network) = network else { continue };
        findings.extend(checks::alone(network, facts, suite));
        for (other_at, (other_document, (other, _))) in documents.iter().zip(&read).enumerate() {
            // Where both are wanted, a conflict is told once, at the later one.
            let is_told_there = other_at > at && wanted(&other_document.file);
            if let Some(other) = other
                && other_at != at
                && !is_told_there
            {
                findings.extend(checks::pair(network, other, other_at < at));
            }
        }
    }
    findings.extend(checks::directory(
        &read.iter().filter_map(|(network, _)| network.as_ref()).collect::<Vec<_>>(),
        wanted,
    ));
    findings
}

/// Checks one config on its own, without a look at the node.
pub fn check_one(file: &Path, content: &[u8], suite: Suite) -> Vec<Finding> {
    let document = Document { file: file.to_owned(), content: Ok(content.to_vec()), more: Vec::new() };
    check(&[document], &|_| true, &Facts::default(), suite)
}
