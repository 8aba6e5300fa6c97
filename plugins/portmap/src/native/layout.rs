//! The table: its sets, maps, chains and rules, which are the same on every node and for any number of ports.

use nft::{
    Chain, ChainType, Family, FieldType, Hook, Network, Rule, Selector, Set, Table, Transaction, Value, addr_type,
    ct_status, nat_flags, priority,
};

/// The table.
pub const TABLE: Table = Table::new(Family::Inet, "podlink_hostport");

/// The chain that translates. Not called `dnat`, which is a word of nft's.
const HOSTPORTS: &str = "hostports";
/// `lo` has this index in every namespace.
const LO: u32 = 1;
/// `127.0.0.0/8`.
const LOOPBACK: std::net::Ipv4Addr = std::net::Ipv4Addr::new(127, 0, 0, 0);
const LOOPBACK_LENGTH: u8 = 8;

/// Host ports of every address of the node: protocol and port to pod address and port.
pub fn any_map(v4: bool) -> &'static str {
    if v4 { "any4" } else { "any6" }
}

/// Host ports of one address of the node.
pub fn address_map(v4: bool) -> &'static str {
    if v4 { "address4" } else { "address6" }
}

/// Pods that reach themselves: the pod's address twice.
pub fn itself_set(v4: bool) -> &'static str {
    if v4 { "itself4" } else { "itself6" }
}

/// Pods that others reach by the interface their packets came in by, and answer past the node: the interface twice (kernel
/// 5.7), and the pod's address. Where bridged packets are shown to netfilter (`bridge-nf-call-iptables`) the answers come by
/// the node, and the packets have no such interface.
pub fn hairpin_set(v4: bool) -> &'static str {
    if v4 { "hairpin4" } else { "hairpin6" }
}

/// Pods of which every connection to a host port is masqueraded.
pub fn all_set(v4: bool) -> &'static str {
    if v4 { "all4" } else { "all6" }
}

/// Pods that can be reached from 127.0.0.0/8.
pub const LOCAL: &str = "local4";

/// Who has which port of which family: 0 for every address of the node, else the number of single addresses. So the kernel
/// itself refuses a port of every address where one of a single address is, and the other way round.
pub const CLAIMS: &str = "claims";
/// [`CLAIMS`]' key: family, protocol, port.
pub const CLAIMS_KEY: [FieldType; 3] = [FieldType::NfProto, FieldType::InetProto, FieldType::InetService];

/// What an attachment has, numbered from 0, so that DEL finds it without looking at the ports of others.
pub const OWNED: &str = "owned";
/// [`OWNED`]'s data: protocol, host port, host address, pod address, interface.
pub const OWNED_DATA: [FieldType; 5] =
    [FieldType::InetProto, FieldType::InetService, FieldType::Ipv6Addr, FieldType::Ipv6Addr, FieldType::IfName];

/// Ports of every address whose connections go by conditions, and the chain of these.
pub const GATE_ANY: &str = "gate";

/// The same of single addresses.
pub fn gate_map(v4: bool) -> &'static str {
    if v4 { "gate4" } else { "gate6" }
}

/// The key of the map of single addresses.
pub fn address_key(v4: bool) -> [FieldType; 3] {
    [network(v4).field_type(), FieldType::InetProto, FieldType::InetService]
}

/// The key of the map of every address.
pub const ANY_KEY: [FieldType; 2] = [FieldType::InetProto, FieldType::InetService];

/// The data of both.
pub fn target(v4: bool) -> [FieldType; 2] {
    [network(v4).field_type(), FieldType::InetService]
}

/// The network protocol.
pub fn network(v4: bool) -> Network {
    if v4 { Network::V4 } else { Network::V6 }
}

/// The sets and maps.
pub fn sets() -> Vec<Set> {
    let mut sets = Vec::new();
    for v4 in [true, false] {
        let address = network(v4).field_type();
        sets.push(Set::new(any_map(v4), ANY_KEY).to_values(target(v4)).comment("host ports of every address"));
        sets.push(
            Set::new(address_map(v4), address_key(v4)).to_values(target(v4)).comment("host ports of one address"),
        );
        sets.push(Set::new(itself_set(v4), [address, address]).comment("reached from themselves"));
        let hairpin = [FieldType::IfName, FieldType::IfName, address];
        sets.push(Set::new(hairpin_set(v4), hairpin).comment("reached from their own side of the node"));
        sets.push(Set::new(all_set(v4), [address]).comment("masqAll"));
    }
    sets.push(Set::new(LOCAL, [FieldType::Ipv4Addr]).comment("reached from 127.0.0.0/8"));
    let gates = "whose connections go by conditions";
    sets.push(Set::new(GATE_ANY, CLAIMS_KEY).to_verdicts().comment(gates));
    sets.extend([true, false].map(|v4| Set::new(gate_map(v4), address_key(v4)).to_verdicts().comment(gates)));
    let claims = Set::new(CLAIMS, CLAIMS_KEY).to_values([FieldType::Mark]);
    sets.push(claims.comment("0: every address has the port, else the number of addresses that have it"));
    let owned = Set::new(OWNED, [FieldType::IfName, FieldType::InetService]).to_values(OWNED_DATA);
    sets.push(owned.comment("by owner: protocol, port, host address, pod address, interface"));
    sets
}

/// The chains, each with its rules in order.
pub fn chains() -> Vec<(Chain, Vec<Rule>)> {
    use ChainType::{Filter, Nat};
    let to_node = || Rule::new().eq(Selector::FibDaddrType, Value::FibAddrType(addr_type::LOCAL)).jump(HOSTPORTS);
    // A packet to ::1 cannot leave the node, and there is no route_localnet for IPv6: better refused than lost.
    let not_own_v6 = Rule::new().eq(Selector::Ip6Daddr, std::net::Ipv6Addr::LOCALHOST).ret();

    let mut dnat = vec![Rule::new().verdict_map(&[Selector::NfProto, Selector::L4Proto, Selector::ThDport], GATE_ANY)];
    for v4 in [true, false] {
        let one = [Selector::daddr(network(v4)), Selector::L4Proto, Selector::ThDport];
        dnat.push(Rule::new().verdict_map(&one, gate_map(v4)));
    }
    for v4 in [true, false] {
        let (network, daddr) = (network(v4), Selector::daddr(network(v4)));
        let one = [daddr, Selector::L4Proto, Selector::ThDport];
        let any = [Selector::L4Proto, Selector::ThDport];
        dnat.push(Rule::new().dnat_map(network, &one, address_map(v4), true, nat_flags::NONE));
        dnat.push(Rule::new().dnat_map(network, &any, any_map(v4), true, nat_flags::NONE));
    }

    let mut source = vec![Rule::new().none_of(Selector::CtStatus, ct_status::DST_NAT).ret()];
    let from_loopback = Rule::new().in_prefix(Selector::IpSaddr, LOOPBACK, LOOPBACK_LENGTH);
    source.push(from_loopback.in_set(&[Selector::IpDaddr], LOCAL).masquerade(nat_flags::NONE));
    for v4 in [true, false] {
        let daddr = Selector::daddr(network(v4));
        let itself = [Selector::saddr(network(v4)), daddr];
        source.push(Rule::new().in_set(&itself, itself_set(v4)).masquerade(nat_flags::NONE));
        let hairpin = [Selector::IifName, Selector::OifName, daddr];
        source.push(Rule::new().in_set(&hairpin, hairpin_set(v4)).masquerade(nat_flags::NONE));
        source.push(Rule::new().in_set(&[daddr], all_set(v4)).masquerade(nat_flags::NONE));
    }

    // route_localnet makes an interface take packets with loopback addresses, which the kernel drops otherwise. Answers
    // to a connection from 127.0.0.1 come with the masqueraded address, and pass.
    let foreign = || Rule::new().ne(Selector::Iif, Value::IfIndex(LO));
    let guard = [Selector::IpDaddr, Selector::IpSaddr];
    let guard = guard.map(|address| foreign().in_prefix(address, LOOPBACK, LOOPBACK_LENGTH).drop());

    vec![
        (Chain::regular(HOSTPORTS), dnat),
        (Chain::base("prerouting", Nat, Hook::Prerouting, priority::DSTNAT), vec![to_node()]),
        (Chain::base("output", Nat, Hook::Output, priority::DSTNAT), vec![not_own_v6, to_node()]),
        (Chain::base("postrouting", Nat, Hook::Postrouting, priority::SRCNAT), source),
        (Chain::base("loopback", Filter, Hook::Prerouting, priority::RAW), guard.into()),
    ]
}

/// Makes whatever of the table is missing, and its rules as they must be. Elements stay. Whoever does it at the same time
/// comes to the same: the rules are replaced within one transaction.
pub fn set_up(tx: &mut Transaction) {
    tx.add_table(&TABLE);
    for set in sets() {
        tx.add_set(&TABLE, set);
    }
    let chains = chains();
    for (chain, _) in &chains {
        tx.add_chain(&TABLE, chain.clone()).flush_chain(&TABLE, &chain.name);
    }
    for (chain, rules) in chains {
        for rule in rules {
            tx.add_rule(&TABLE, &chain.name, rule);
        }
    }
}
