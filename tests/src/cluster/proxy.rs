//! The rules kube-proxy keeps on a node, in its two modes, written from its documented design.

use std::process::Command;

use super::{FAMILIES, Member, Service, iptables_mode, nftables_mode};

/// kube-proxy's mark of a connection that is to take on the node's address.
pub const MASQUERADE: &str = "0x4000";

/// kube-proxy's `--proxy-mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Chains of iptables.
    Iptables,
    /// A table of nf_tables for each family.
    Nftables,
}

/// Installs the Services' rules on the node, in place of those that were there.
pub(super) fn install(mode: Mode, node: &Member, services: &[Service]) {
    match mode {
        Mode::Iptables => {
            for family in FAMILIES {
                let jumps = iptables_mode::jumps();
                // Only once: they are rules in chains that are not kube-proxy's.
                let program = ["iptables-save", "ip6tables-save"][family];
                if !node.sh(&[program]).contains("-j KUBE-SERVICES") {
                    node.restore(family, &jumps);
                }
                node.restore(family, &iptables_mode::rules(family, node.number, services));
            }
        }
        Mode::Nftables => {
            let tables: String = FAMILIES
                .map(|family| nftables_mode::table(family, node.number, &node.addresses()[family], services))
                .concat();
            node.load(Command::new(crate::need::tool("nft")).args(["-f", "-"]), &tables);
        }
    }
}
