//! Which lines of a script bring a table to what is wanted. Pure: from rules as they are printed, to commands.

use std::net::IpAddr;

use iptables::{Family, Ruleset};
use pod::Owner;

use super::{FORWARD, PRIVATE};
use crate::target::Fence;

/// Packets that come in by a bridge with a policy and leave by something else.
pub const STAGE1: &str = "CNI-ISOLATION-STAGE-1";
/// Those of them that leave by another bridge with a policy.
const STAGE2: &str = "CNI-ISOLATION-STAGE-2";
const JUMP_COMMENT: &str = "CNI firewall plugin rules";
const ADMIN_COMMENT: &str = "CNI firewall plugin admin overrides";
const FENCE_COMMENT: &str = "CNI firewall plugin rules (ingressPolicy: same-bridge)";
const ISOLATED_COMMENT: &str = "CNI firewall plugin rules (ingressPolicy: isolated)";

/// What must be there for one pod in one family.
#[derive(Clone, Debug)]
pub struct Wanted<'a> {
    /// The administrator's chain.
    pub admin: &'a str,
    /// The pod's addresses of this family.
    pub addresses: Vec<IpAddr>,
    /// The owner's name, where nothing but a comment can tell it.
    pub owner: Option<&'a str>,
    /// `ingressPolicy`.
    pub fence: Option<&'a Fence>,
}

fn commented(comment: &str) -> String {
    format!("-m comment --comment \"{comment}\"")
}

/// The two rules of an address, as `iptables-save` prints them: replies come in, everything goes out.
fn pod_rules(address: &IpAddr, owner: Option<&str>) -> [String; 2] {
    let host = match Family::of(*address) {
        Family::V4 => format!("{address}/32"),
        Family::V6 => format!("{address}/128"),
    };
    let comment = owner.map_or_else(String::new, |owner| format!(" {}", commented(owner)));
    [
        format!("-d {host} -m conntrack --ctstate RELATED,ESTABLISHED{comment} -j ACCEPT"),
        format!("-s {host}{comment} -j ACCEPT"),
    ]
}

fn has(ruleset: &Ruleset, chain: &str, spec: &str) -> bool {
    position(ruleset, chain, spec).is_some()
}

fn position(ruleset: &Ruleset, chain: &str, spec: &str) -> Option<usize> {
    ruleset.rules.iter().position(|rule| rule.chain == chain && rule.spec == spec)
}

impl Wanted<'_> {
    /// The commands for what is not there.
    pub fn missing(&self, ruleset: &Ruleset) -> Vec<String> {
        let mut lines = Vec::new();
        let mut chains = vec![PRIVATE, self.admin];
        if self.fence.is_some() {
            chains.extend([STAGE1, STAGE2]);
        }
        let absent = chains.into_iter().filter(|chain| !ruleset.chains.iter().any(|known| known == chain));
        lines.extend(absent.map(|chain| format!("-N {chain}")));

        let jump = format!("{} -j {PRIVATE}", commented(JUMP_COMMENT));
        self.first(ruleset, &mut lines, FORWARD, &jump);
        self.first(ruleset, &mut lines, PRIVATE, &format!("{} -j {}", commented(ADMIN_COMMENT), self.admin));
        for spec in self.addresses.iter().flat_map(|address| pod_rules(address, self.owner)) {
            if !has(ruleset, PRIVATE, &spec) {
                lines.push(format!("-A {PRIVATE} {spec}"));
            }
        }
        if let Some(fence) = self.fence {
            self.missing_of_fence(ruleset, fence, &jump, &mut lines);
        }
        lines
    }

    fn missing_of_fence(&self, ruleset: &Ruleset, fence: &Fence, pods: &str, lines: &mut Vec<String>) {
        let comment = commented(FENCE_COMMENT);
        let stage1 = format!("{comment} -j {STAGE1}");
        match (position(ruleset, FORWARD, &stage1), position(ruleset, FORWARD, pods)) {
            // Behind the rules that accept what pods send, no fence would be asked.
            (Some(fences), Some(pods)) if fences > pods => {
                lines.extend([format!("-D {FORWARD} {stage1}"), format!("-I {FORWARD} 1 {stage1}")]);
            }
            (Some(_), Some(_)) => {}
            // Where the pods' jump is put first in this very script, the fences' goes before it again.
            (Some(_), None) => {
                lines.extend([format!("-D {FORWARD} {stage1}"), format!("-I {FORWARD} 1 {stage1}")]);
            }
            (None, _) => lines.push(format!("-I {FORWARD} 1 {stage1}")),
        }
        for bridge in &fence.bridges {
            self.first(ruleset, lines, STAGE1, &format!("-i {bridge} ! -o {bridge} {comment} -j {STAGE2}"));
            self.first(ruleset, lines, STAGE2, &format!("-o {bridge} {comment} -j DROP"));
            if fence.isolated {
                let within = format!("-i {bridge} -o {bridge} {} -j DROP", commented(ISOLATED_COMMENT));
                self.first(ruleset, lines, STAGE1, &within);
            }
        }
        for stage in [STAGE1, STAGE2] {
            let back = format!("{comment} -j RETURN");
            if !has(ruleset, stage, &back) {
                lines.push(format!("-A {stage} {back}"));
            }
        }
    }

    /// As the reference does it: anywhere in the chain is good, a new one goes before all others.
    fn first(&self, ruleset: &Ruleset, lines: &mut Vec<String>, chain: &str, spec: &str) {
        if !has(ruleset, chain, spec) {
            lines.push(format!("-I {chain} 1 {spec}"));
        }
    }
}

/// The commands that remove the rules for these addresses, and those of owners that are `gone`.
pub fn surplus(ruleset: &Ruleset, addresses: &[IpAddr], gone: &dyn Fn(&Owner) -> bool) -> Vec<String> {
    let of_addresses: Vec<String> = addresses.iter().flat_map(|address| pod_rules(address, None)).collect();
    let is_surplus = |spec: &String| of_addresses.contains(spec) || owner_of(spec).is_some_and(|owner| gone(&owner));
    let rules = ruleset.rules.iter().filter(|rule| rule.chain == PRIVATE && is_surplus(&rule.spec));
    rules.map(iptables::Line::deletion).collect()
}

/// The commands that remove the fences of bridges that are `gone`. As with the reference, they outlive the pods: nobody
/// knows whose bridge it is, too.
pub fn dead_fences(ruleset: &Ruleset, gone: &dyn Fn(&str) -> bool) -> Vec<String> {
    let is_fence = |rule: &&iptables::Line| [STAGE1, STAGE2].contains(&rule.chain.as_str());
    let is_dead = |rule: &&iptables::Line| bridge_of(&rule.spec).is_some_and(gone);
    ruleset.rules.iter().filter(is_fence).filter(is_dead).map(iptables::Line::deletion).collect()
}

/// The bridge that a rule of ours or the reference's fences in; `None` for the rules that belong to none.
fn bridge_of(spec: &str) -> Option<&str> {
    let comment_is_ours = spec.contains("CNI firewall plugin rules (ingressPolicy: ");
    let bridge = spec.strip_prefix("-i ").or_else(|| spec.strip_prefix("-o "))?.split(' ').next()?;
    comment_is_ours.then_some(bridge)
}

/// The owner that a rule's comment names.
fn owner_of(spec: &str) -> Option<Owner> {
    let comment = spec.split_once("--comment ")?.1.split(' ').next()?;
    Owner::from_alias(comment.trim_matches('"'))
}

#[cfg(test)]
mod tests;
