//! Which of several configs a runtime uses.

use std::path::Path;

use crate::finding::{Finding, Severity};
use crate::network::Network;

/// Two files for one network: libcni takes the first list of that name, or else the first single config.
pub(super) fn same_name(network: &Network, other: &Network, other_is_first: bool) -> Option<Finding> {
    let is_list = |network: &Network| network.file.extension().is_some_and(|suffix| suffix == "conflist");
    let other_wins = match (is_list(network), is_list(other)) {
        (true, false) => false,
        (false, true) => true,
        _ => other_is_first,
    };
    if network.name.is_empty() {
        return None;
    }
    let (used, unused) = if other_wins { (&other.file, "this one") } else { (&network.file, "the other") };
    let what = format!(
        "{} has the name {:?}, too; a runtime that asks for it by name never sees {unused}",
        other.file.display(),
        network.name
    );
    let advice = format!("{} is used; remove the other, or give it a name of its own", used.display());
    Some(Finding::about(Severity::Warning, &network.file, what).key("name").advice(advice))
}

/// Kubernetes' runtimes use the first file alone, others all of them.
pub(crate) fn check(networks: &[&Network], wanted: &dyn Fn(&Path) -> bool) -> Vec<Finding> {
    let [first, others @ ..] = networks else { return Vec::new() };
    let other = others.iter().find(|other| wanted(&other.file));
    let Some(other) = other else { return Vec::new() };
    let what = format!(
        "{} sorts before it: containerd and CRI-O use that one for pods, unless told otherwise",
        first.file.display()
    );
    vec![
        Finding::about(Severity::Note, &other.file, what)
            .advice("fine for podman and nerdctl, which ask for networks by name"),
    ]
}
