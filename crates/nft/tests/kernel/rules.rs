//! Every condition and action: as `nft` shows it, and the same when read back.

use std::net::{Ipv4Addr, Ipv6Addr};

use nft::{
    Chain, ChainType, Family, FieldType, Hook, Network, Rule, Selector, Set, Table, Transaction, Value, ct_state,
    ct_status, nat_flags, priority, proto,
};

use crate::harness::Namespace;

fn tcp(rule: Rule) -> Rule {
    rule.eq(Selector::L4Proto, Value::Proto(proto::TCP))
}

/// Adds the rules to a chain of a table of this family, and compares each with what `nft` says and what is read back.
fn check(family: Family, chain: Chain, cases: Vec<(Rule, &str)>) {
    use FieldType as F;
    let ns = Namespace::new();
    let mut nft = ns.nft();
    let table = Table::new(family, "t");
    let mut tx = Transaction::new();
    tx.add_table(&table)
        .add_set(&table, Set::new("a4", [F::Ipv4Addr]))
        .add_set(&table, Set::new("a6", [F::Ipv6Addr]))
        .add_set(&table, Set::new("macs", [F::IfName, F::EtherAddr]))
        .add_set(&table, Set::new("names", [F::IfName]))
        .add_set(&table, Set::new("vm", [F::Ipv4Addr]).to_verdicts())
        .add_set(&table, Set::new("local", [F::InetProto, F::InetService]))
        .add_set(&table, Set::new("dn", [F::InetProto, F::InetService]).to_values([F::Ipv4Addr, F::InetService]))
        .add_set(&table, Set::new("dn6", [F::InetProto, F::InetService]).to_values([F::Ipv6Addr, F::InetService]))
        .add_set(&table, Set::new("sn", [F::Ipv4Addr]).to_values([F::Ipv4Addr]))
        .add_chain(&table, Chain::regular("other"))
        .add_chain(&table, chain.clone());
    for (rule, _) in &cases {
        tx.add_rule(&table, &chain.name, rule.clone());
    }
    nft.commit(&tx).unwrap();
    let shown = ns.command("nft", &["-n", "list", "chain", &family.to_string(), "t", &chain.name]);
    let lines: Vec<&str> = shown.lines().map(str::trim).collect();
    let first = if chain.base.is_some() { 3 } else { 2 };
    let found = nft.rules(&table, &chain.name).unwrap();
    assert_eq!(found.len(), cases.len());
    let mut wrong = Vec::new();
    for (index, (rule, text)) in cases.iter().enumerate() {
        if lines[first + index] != *text {
            wrong.push(format!("{rule}\n  nft:  {}\n  want: {text}", lines[first + index]));
        }
        assert!(found[index].is(rule, family), "sent: {:?}\nread: {:?}", rule.compile(family), found[index].exprs);
        let changed = rule.clone().counter();
        assert!(!found[index].is(&changed, family));
        assert!(!found[index].is(&rule.clone().comment("another"), family));
        assert_eq!(nft::describe(&rule.compile(family)), nft::describe(&found[index].exprs));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn conditions_of_an_inet_filter() {
    let net = Ipv4Addr::new(10, 1, 0, 0);
    let net6: Ipv6Addr = "fd00:1::".parse().unwrap();
    let filter = Chain::base("c", ChainType::Filter, Hook::Prerouting, priority::FILTER);
    use Selector as S;
    check(
        Family::Inet,
        filter,
        vec![
            (Rule::new().eq(S::IpSaddr, net).accept(), "ip saddr 10.1.0.0 accept"),
            (Rule::new().ne(S::IpDaddr, net).drop(), "ip daddr != 10.1.0.0 drop"),
            (Rule::new().in_prefix(S::IpDaddr, net, 20).ret(), "ip daddr 10.1.0.0/20 return"),
            (Rule::new().not_in_prefix(S::IpDaddr, [224, 0, 0, 0], 4).drop(), "ip daddr != 224.0.0.0/4 drop"),
            (Rule::new().in_prefix(S::Ip6Daddr, net6, 50).drop(), "ip6 daddr fd00:1::/50 drop"),
            (Rule::new().in_prefix(S::IpSaddr, net, 0).drop(), "meta nfproto 2 drop"),
            (Rule::new().eq(S::Ip6Saddr, Ipv6Addr::LOCALHOST).accept(), "ip6 saddr ::1 accept"),
            (Rule::new().eq(S::IpProtocol, Value::Proto(17)).accept(), "ip protocol 17 accept"),
            (Rule::new().eq(S::Ip6NextHeader, Value::Proto(17)).accept(), "ip6 nexthdr 17 accept"),
            (tcp(Rule::new()).eq(S::ThDport, Value::Port(80)).accept(), "tcp dport 80 accept"),
            (tcp(Rule::new()).eq(S::ThSport, Value::Port(80)).accept(), "tcp sport 80 accept"),
            (Rule::new().eq(S::IifName, "cni0").jump("other"), "iifname \"cni0\" jump other"),
            (Rule::new().ne(S::IifName, "cni0").goto("other"), "iifname != \"cni0\" goto other"),
            (Rule::new().eq(S::Iif, Value::IfIndex(1)).accept(), "iif \"lo\" accept"),
            (Rule::new().eq(S::Protocol, Value::EtherType(0x86dd)).accept(), "meta protocol 0x86dd accept"),
            (Rule::new().eq(S::PktType, Value::PktType(2)).drop(), "meta pkttype 2 drop"),
            (Rule::new().eq(S::Mark, Value::Mark(7)).accept(), "meta mark 0x00000007 accept"),
            (Rule::new().masked_eq(S::Mark, 0x2000, 0x2000).accept(), "meta mark & 0x00002000 == 0x00002000 accept"),
            (
                Rule::new().any_of(S::CtState, ct_state::ESTABLISHED | ct_state::RELATED).accept(),
                "ct state 0x2,0x4 accept",
            ),
            (Rule::new().any_of(S::CtStatus, ct_status::DST_NAT).accept(), "ct status 0x20 accept"),
            (Rule::new().eq(S::CtMark, Value::Mark(9)).accept(), "ct mark 0x00000009 accept"),
            (Rule::new().eq(S::CtDirection, Value::CtDirection(1)).accept(), "ct direction 1 accept"),
            (Rule::new().to_local().accept(), "fib daddr type 2 accept"),
            (Rule::new().eq(S::FibSaddrType, Value::FibAddrType(2)).drop(), "fib saddr type 2 drop"),
            (Rule::new().eq(S::FibDaddrIifType, Value::FibAddrType(2)).drop(), "fib daddr . iif type 2 drop"),
            (Rule::new().in_set(&[S::IpSaddr], "a4").accept(), "ip saddr @a4 accept"),
            (Rule::new().not_in_set(&[S::Ip6Saddr], "a6").accept(), "ip6 saddr != @a6 accept"),
            (Rule::new().in_set(&[S::IifName], "names").accept(), "iifname @names accept"),
            (Rule::new().in_set(&[S::L4Proto, S::ThDport], "local").accept(), "meta l4proto . th dport @local accept"),
            (Rule::new().verdict_map(&[S::IpDaddr], "vm"), "ip daddr vmap @vm"),
            (Rule::new().counter().comment("why"), "counter packets 0 bytes 0 comment \"why\""),
            (Rule::new().set_mark(u32::MAX, 5), "meta mark set 0x00000005"),
            (Rule::new().set_mark(0x2000, 0x2000), "meta mark set meta mark | 0x00002000"),
            (Rule::new().set_mark(0x2000, 0), "meta mark set meta mark & 0xffffdfff"),
            (Rule::new().set_ct_mark(u32::MAX, 5), "ct mark set 0x00000005"),
        ],
    );
}

#[test]
fn outgoing_conditions_and_refusals() {
    let forward = || Chain::base("c", ChainType::Filter, Hook::Forward, priority::FILTER);
    use Selector as S;
    check(
        Family::Inet,
        forward(),
        vec![
            (Rule::new().eq(S::OifName, "cni0").reject(), "oifname \"cni0\" reject"),
            (tcp(Rule::new()).reject_tcp_reset(), "meta l4proto 6 reject with tcp reset"),
            (Rule::new().eq(S::Oif, Value::IfIndex(1)).accept(), "oif \"lo\" accept"),
        ],
    );
    check(Family::Ip, forward(), vec![(Rule::new().reject(), "reject")]);
    check(Family::Ip6, forward(), vec![(Rule::new().reject(), "reject")]);
}

#[test]
fn source_translation() {
    let address = Ipv4Addr::new(192, 0, 2, 1);
    let address6: Ipv6Addr = "2001:db8::1".parse().unwrap();
    let post = Chain::base("c", ChainType::Nat, Hook::Postrouting, priority::SRCNAT);
    let source = [Selector::IpSaddr];
    check(
        Family::Inet,
        post,
        vec![
            (Rule::new().in_set(&source, "a4").masquerade(0), "ip saddr @a4 masquerade"),
            (Rule::new().masquerade(nat_flags::FULLY_RANDOM), "masquerade fully-random"),
            (Rule::new().snat(address, None, 0), "meta nfproto 2 snat ip to 192.0.2.1"),
            (tcp(Rule::new()).snat(address, Some(99), 0), "meta l4proto 6 meta nfproto 2 snat ip to 192.0.2.1:99"),
            (
                tcp(Rule::new()).snat(address6, Some(99), 0),
                "meta l4proto 6 meta nfproto 10 snat ip6 to [2001:db8::1]:99",
            ),
            (Rule::new().snat_map(Network::V4, &source, "sn", false, 0), "snat ip to ip saddr map @sn"),
        ],
    );
}

#[test]
fn destination_translation() {
    let address = Ipv4Addr::new(192, 0, 2, 1);
    let pre = Chain::base("c", ChainType::Nat, Hook::Prerouting, priority::DSTNAT);
    let key = [Selector::L4Proto, Selector::ThDport];
    check(
        Family::Ip,
        pre.clone(),
        vec![
            (Rule::new().dnat(address, None, 0), "dnat to 192.0.2.1"),
            (
                tcp(Rule::new()).dnat(address, Some(80), nat_flags::PERSISTENT),
                "meta l4proto 6 dnat to 192.0.2.1:80 persistent",
            ),
            (
                Rule::new().to_local().dnat_map(Network::V4, &key, "dn", true, 0),
                "fib daddr type 2 dnat ip to meta l4proto . th dport map @dn",
            ),
            (Rule::new().redirect(None), "redirect"),
            (tcp(Rule::new()).redirect(Some(8080)), "meta l4proto 6 redirect to :8080"),
        ],
    );
    check(
        Family::Inet,
        pre,
        vec![
            (
                Rule::new().to_local().dnat_map(Network::V4, &key, "dn", true, 0),
                "fib daddr type 2 meta nfproto 2 dnat ip to meta l4proto . th dport map @dn",
            ),
            (
                Rule::new().to_local().dnat_map(Network::V6, &key, "dn6", true, 0),
                "fib daddr type 2 meta nfproto 10 dnat ip6 to meta l4proto . th dport map @dn6",
            ),
        ],
    );
}

#[test]
fn bridge_and_netdev() {
    let mac = || Value::Ether([0x0a, 0x58, 0, 0, 0, 9]);
    let pre = Chain::base("c", ChainType::Filter, Hook::Prerouting, priority::BRIDGE_FILTER);
    use Selector as S;
    check(
        Family::Bridge,
        pre,
        vec![
            (
                Rule::new().eq(S::IifName, "veth0").ne(S::EtherSaddr, mac()).drop(),
                "iifname \"veth0\" ether saddr != 0a:58:00:00:00:09 drop",
            ),
            (Rule::new().eq(S::EtherDaddr, mac()).drop(), "ether daddr 0a:58:00:00:00:09 drop"),
            (
                Rule::new().not_in_set(&[S::IifName, S::EtherSaddr], "macs").drop(),
                "iifname . ether saddr != @macs drop",
            ),
            (Rule::new().eq(S::EtherType, Value::EtherType(0x0806)).drop(), "ether type 0x0806 drop"),
            (Rule::new().eq(S::IpSaddr, Ipv4Addr::LOCALHOST).drop(), "ip saddr 127.0.0.1 drop"),
        ],
    );
    let ingress = Chain::base("c", ChainType::Filter, Hook::Ingress, 0).device("lo");
    check(
        Family::Netdev,
        ingress,
        vec![(Rule::new().eq(S::Ip6Saddr, Ipv6Addr::LOCALHOST).drop(), "ip6 saddr ::1 drop")],
    );
}

#[test]
fn rules_are_inserted_replaced_and_deleted_by_handle() {
    let ns = Namespace::new();
    let mut nft = ns.nft();
    let table = Table::new(Family::Ip, "t");
    let rule = |comment: &str| Rule::new().accept().comment(comment);
    let mut tx = Transaction::new();
    tx.add_table(&table)
        .add_chain(&table, Chain::regular("c"))
        .add_rule(&table, "c", rule("second"))
        .add_rule(&table, "c", rule("third"))
        .insert_rule(&table, "c", rule("first"));
    nft.commit(&tx).unwrap();
    let comments = |nft: &mut nft::Nft| -> Vec<(String, u64)> {
        nft.rules(&table, "c").unwrap().into_iter().map(|rule| (rule.comment.unwrap(), rule.handle)).collect()
    };
    let before = comments(&mut nft);
    assert_eq!(before.iter().map(|(text, _)| text.as_str()).collect::<Vec<_>>(), ["first", "second", "third"]);
    let mut tx = Transaction::new();
    tx.replace_rule(&table, "c", before[1].1, rule("new")).delete_rule(&table, "c", before[2].1);
    tx.destroy_rule(&table, "c", 4711);
    nft.commit(&tx).unwrap();
    assert_eq!(comments(&mut nft).iter().map(|(text, _)| text.as_str()).collect::<Vec<_>>(), ["first", "new"]);
    assert_eq!(nft.table_rules(&table).unwrap().len(), 2);
    let mut tx = Transaction::new();
    tx.flush_chain(&table, "c");
    nft.commit(&tx).unwrap();
    assert_eq!(nft.rules(&table, "c").unwrap(), []);
}

#[test]
fn rules_of_others_are_read_without_being_understood() {
    let ns = Namespace::new();
    ns.command("nft", &["add table ip t; add chain ip t c; add rule ip t c limit rate 5/second tcp dport { 80, 443 } accept comment \"x\""]);
    let mut nft = ns.nft();
    let rules = nft.rules(&Table::new(Family::Ip, "t"), "c").unwrap();
    assert_eq!(rules.len(), 1);
    assert_eq!(rules[0].comment.as_deref(), Some("x"));
    assert!(rules[0].to_string().contains("limit 0x"), "{}", rules[0]);
}
