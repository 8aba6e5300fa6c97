//! The tables as they are made: sets, chains, and the rules that never change.

use nft::{
    Chain, ChainType, Family, FieldType, Hook, Policy, Rule, Selector, Set, Table, Transaction, ct_state, priority,
};

/// What is routed.
pub const FILTER: Table = Table::new(Family::Inet, "podlink_filter");
/// What is passed from bridge port to bridge port.
pub const BRIDGE_FILTER: Table = Table::new(Family::Bridge, "podlink_filter");

/// A set whose elements have owners.
#[derive(Debug, PartialEq, Eq)]
pub struct OwnedSet {
    /// The table it is in.
    pub table: Table,
    /// Its name.
    pub name: &'static str,
    /// Its key.
    pub key: &'static [FieldType],
}

/// The pods' IPv4 addresses.
pub static PODS4: OwnedSet = OwnedSet { table: FILTER, name: "pods4", key: &[FieldType::Ipv4Addr] };
/// The pods' IPv6 addresses.
pub static PODS6: OwnedSet = OwnedSet { table: FILTER, name: "pods6", key: &[FieldType::Ipv6Addr] };
/// Which pods need which fence: bridge, policy, address.
pub static MEMBERS: OwnedSet =
    OwnedSet { table: FILTER, name: "members", key: &[FieldType::IfName, FieldType::Mark, FieldType::Ipv6Addr] };
/// Bridge ports between which nothing passes.
pub static ISOLATED_PORTS: OwnedSet = OwnedSet { table: BRIDGE_FILTER, name: "isolated", key: &[FieldType::IfName] };
/// Every set with owners.
pub static OWNED: [&OwnedSet; 4] = [&PODS4, &PODS6, &MEMBERS, &ISOLATED_PORTS];

/// Bridges with a policy.
pub const FENCED: &str = "fenced";
/// In by and out by the same bridge, for pods with `same-bridge`.
pub const SAME_BRIDGE: &str = "same_bridge";
/// The same for pods with `isolated`.
pub const ISOLATED: &str = "isolated";

/// Left to the node's administrator, as `CNI-ADMIN` is.
const ADMIN: &str = "admin";
const INGRESS: &str = "ingress";
/// The chain that packets enter by, in both tables.
pub const FORWARD: &str = "forward";

/// A chain and its rules.
pub struct Rules {
    /// The table.
    pub table: Table,
    /// The chain.
    pub chain: Chain,
    /// What is in it.
    pub rules: Vec<Rule>,
}

/// The chains that are ours.
pub fn chains(isolated: bool) -> Vec<Rules> {
    let ways = [Selector::IifName, Selector::OifName];
    let replies = ct_state::ESTABLISHED | ct_state::RELATED;
    let ingress = vec![
        Rule::new().in_set(&ways, ISOLATED).drop(),
        Rule::new().in_set(&ways, SAME_BRIDGE).ret(),
        Rule::new().in_set(&ways[..1], FENCED).in_set(&ways[1..], FENCED).drop(),
    ];
    // The reference's order: the fences, the administrator's rules, then the pods'.
    let forward = vec![
        Rule::new().jump(INGRESS),
        Rule::new().jump(ADMIN),
        Rule::new().in_set(&[Selector::IpDaddr], PODS4.name).any_of(Selector::CtState, replies).accept(),
        Rule::new().in_set(&[Selector::IpSaddr], PODS4.name).accept(),
        Rule::new().in_set(&[Selector::Ip6Daddr], PODS6.name).any_of(Selector::CtState, replies).accept(),
        Rule::new().in_set(&[Selector::Ip6Saddr], PODS6.name).accept(),
    ];
    let mut chains = vec![
        Rules { table: FILTER, chain: Chain::regular(INGRESS), rules: ingress },
        Rules {
            table: FILTER,
            chain: Chain::base(FORWARD, ChainType::Filter, Hook::Forward, priority::FILTER),
            rules: forward,
        },
    ];
    if isolated {
        let ports = ISOLATED_PORTS.name;
        chains.push(Rules {
            table: BRIDGE_FILTER,
            chain: Chain::base(FORWARD, ChainType::Filter, Hook::Forward, priority::BRIDGE_FILTER),
            rules: vec![Rule::new().in_set(&ways[..1], ports).in_set(&ways[1..], ports).drop()],
        });
    }
    chains
}

/// Makes the tables with all that is in them but elements. What is there already stays, and its rules are brought back.
/// `policy` is that of the chain [`FORWARD`], if it is there.
pub fn make(tx: &mut Transaction, isolated: bool, policy: Option<Policy>) {
    tx.add_table(&FILTER);
    if isolated {
        tx.add_table(&BRIDGE_FILTER);
    }
    for set in OWNED.iter().filter(|set| isolated || set.table == FILTER) {
        tx.add_set(&set.table, Set::new(set.name, set.key));
    }
    tx.add_set(&FILTER, Set::new(FENCED, [FieldType::IfName]));
    for name in [SAME_BRIDGE, ISOLATED] {
        tx.add_set(&FILTER, Set::new(name, [FieldType::IfName, FieldType::IfName]));
    }
    tx.add_chain(&FILTER, Chain::regular(ADMIN).comment("for your own rules; podlink leaves it alone"));
    for Rules { table, chain, rules } in chains(isolated) {
        let name = chain.name.clone();
        let chain = if table == FILTER { chain.policy(policy.unwrap_or(Policy::Accept)) } else { chain };
        tx.add_chain(&table, chain).flush_chain(&table, &name);
        for rule in rules {
            tx.add_rule(&table, &name, rule);
        }
    }
}
