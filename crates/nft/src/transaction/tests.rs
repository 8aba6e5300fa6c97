use std::net::{Ipv4Addr, Ipv6Addr};

use super::*;
use crate::{
    chain::{ChainType, Hook, Policy, priority},
    expr::describe,
    selector::{Network, Selector},
    set::Verdict,
    table::Family,
    value::{FieldType, Key, Value, proto},
    wire::{BATCH_BEGIN, BATCH_END, Messages, attr, msg},
};

const T: Table = Table::new(Family::Inet, "t");

#[test]
fn a_transaction_reads_as_nft_commands() {
    let pod = Ipv4Addr::new(10, 1, 2, 3);
    let types = [FieldType::InetProto, FieldType::InetService];
    let post = Chain::base("post", ChainType::Nat, Hook::Postrouting, priority::SRCNAT);
    let mut tx = Transaction::new();
    tx.add_table(&T)
        .create_chain(&T, post)
        .add_chain(&T, Chain::base("in", ChainType::Filter, Hook::Ingress, -5).device("eth0").policy(Policy::Drop))
        .add_set(&T, Set::new("pods4", [FieldType::Ipv4Addr]).to_verdicts().comment("pods"))
        .add_set(&T, Set::new("ports", types).to_values([FieldType::Ipv4Addr, FieldType::InetService]).interval())
        .add_rule(&T, "post", Rule::new().in_prefix(Selector::IpDaddr, [10, 1, 0, 0], 16).counter().ret())
        .insert_rule(&T, "post", Rule::new().eq(Selector::IifName, "a").masquerade(4).comment("x"))
        .replace_rule(&T, "post", 7, Rule::new().set_mark(0x2000, 0x2000))
        .add_element(&T, "pods4", Element::new(pod).verdict(Verdict::Jump("snat".into())).owner("net/c1/eth0"))
        .delete_element(&T, "ports", [Value::Proto(proto::UDP), Value::Port(53)])
        .destroy_elements(&T, "pods4", vec![Element::new(pod).to(Ipv4Addr::new(10, 1, 2, 9))])
        .delete_rule(&T, "post", 9)
        .flush_chain(&T, "post")
        .flush_set(&T, "pods4")
        .destroy_chain(&T, "post")
        .delete_set(&T, "pods4")
        .destroy_table(&T);
    assert_eq!(
        tx.to_string(),
        "add table inet t\n\
         create chain inet t post { type nat hook postrouting priority 100; policy accept; }\n\
         add chain inet t in { type filter hook ingress device \"eth0\" priority -5; policy drop; }\n\
         add map inet t pods4 { type ipv4_addr : verdict; comment \"pods\"; }\n\
         add map inet t ports { type inet_proto . inet_service : ipv4_addr . inet_service; flags interval; }\n\
         add rule inet t post ip daddr 10.1.0.0/16 counter return\n\
         insert rule inet t post iifname \"a\" masquerade random comment \"x\"\n\
         replace rule inet t post handle 7 meta mark set meta mark & 0xffffdfff ^ 0x00002000\n\
         add element inet t pods4 { 10.1.2.3 comment \"net/c1/eth0\" : jump snat }\n\
         delete element inet t ports { udp . 53 }\n\
         destroy element inet t pods4 { 10.1.2.3-10.1.2.9 }\n\
         delete rule inet t post handle 9\n\
         flush chain inet t post\n\
         flush set inet t pods4\n\
         destroy chain inet t post\n\
         delete set inet t pods4\n\
         destroy table inet t\n"
    );
}

#[test]
fn rules_read_as_nft_writes_them() {
    let key = [Selector::L4Proto, Selector::ThDport];
    let cases = [
        (
            Rule::new()
                .eq(Selector::IifName, "cni0")
                .eq(Selector::L4Proto, Value::Proto(proto::TCP))
                .in_set(&[Selector::IpSaddr], "pods4")
                .masquerade(0),
            "iifname \"cni0\" meta l4proto tcp meta nfproto ipv4 ip saddr @pods4 masquerade",
        ),
        (
            Rule::new().to_local().dnat_map(Network::V4, &key, "m", true, 0),
            "fib daddr type local meta nfproto ipv4 dnat ip to meta l4proto . th dport map @m",
        ),
        (Rule::new().dnat(Ipv6Addr::LOCALHOST, Some(80), 0), "meta nfproto ipv6 dnat ip6 to ::1:80"),
        (Rule::new().snat(Ipv4Addr::LOCALHOST, None, 16), "meta nfproto ipv4 snat ip to 127.0.0.1 fully-random"),
        (Rule::new().redirect(Some(80)), "redirect to :80"),
        (Rule::new().any_of(Selector::CtState, 2 | 4).accept(), "ct state established,related accept"),
        (Rule::new().none_of(Selector::Mark, 1).drop(), "meta mark & 0x00000001 == 0x00000000 drop"),
        (Rule::new().set_ct_mark(u32::MAX, 5), "ct mark set 0x00000005"),
        (
            Rule::new().not_in_set(&[Selector::IifName, Selector::EtherSaddr], "m").reject(),
            "iifname . ether saddr != @m reject",
        ),
    ];
    for (rule, text) in cases {
        assert_eq!(describe(&rule.compile(Family::Inet)), text);
    }
}

#[test]
fn the_protocol_is_checked_once_and_only_where_needed() {
    let rule = Rule::new()
        .eq(Selector::NfProto, Value::NfProto(2))
        .eq(Selector::IpSaddr, Ipv4Addr::LOCALHOST)
        .eq(Selector::IpDaddr, Ipv4Addr::LOCALHOST);
    assert_eq!(rule.compile(Family::Inet).len(), 6);
    let rule = Rule::new().eq(Selector::IpSaddr, Ipv4Addr::LOCALHOST).in_prefix(Selector::IpDaddr, [0, 0, 0, 0], 0);
    assert_eq!(rule.compile(Family::Ip).len(), 2);
    assert_eq!(rule.compile(Family::Inet).len(), 4);
    assert_eq!(describe(&rule.compile(Family::Bridge)), "meta protocol ip ip saddr 127.0.0.1");
}

#[test]
fn the_bytes_are_a_batch_with_one_acknowledgement() {
    let mut tx = Transaction::new();
    tx.add_table(&T).destroy_table(&T).if_generation(7);
    let bytes = tx.to_bytes();
    let messages: Vec<_> = Messages(&bytes).collect();
    assert_eq!(messages.iter().map(|message| message.seq).collect::<Vec<_>>(), [0, 1, 2, 3]);
    assert_eq!(messages.iter().map(|message| message.flags & 4).collect::<Vec<_>>(), [0, 0, 4, 0], "NLM_F_ACK");
    assert_eq!((messages[0].kind, messages[3].kind), (BATCH_BEGIN, BATCH_END));
    assert_eq!(messages[0].body, [0, 0, 0, 10, 8, 0, 1, 0, 0, 0, 0, 7], "res_id nf_tables, NFNL_BATCH_GENID 7");
    assert_eq!(messages[1].nftables(), Some(msg::NEW_TABLE));
    assert_eq!(messages[2].nftables(), Some(msg::DESTROY_TABLE));
    assert_eq!(messages[1].attributes().find(attr::TABLE_NAME).unwrap().str(), Some("t"));
    assert_eq!(messages[1].body[0], 1, "NFPROTO_INET");
    assert!(Transaction::new().to_bytes().is_empty());
}

#[test]
fn many_elements_are_split_below_the_length_of_an_attribute() {
    let elements = (0..250u32).map(|n| Element::new(Value::Mark(n)).owner("o".repeat(250))).collect();
    let mut tx = Transaction::new();
    tx.add_elements(&T, "s", elements);
    let bytes = tx.to_bytes();
    let counts: Vec<usize> = Messages(&bytes)
        .filter(|message| message.nftables() == Some(msg::NEW_ELEMENT))
        .map(|message| message.attributes().find(attr::ELEM_LIST_ELEMENTS).unwrap().nested().count())
        .collect();
    assert_eq!(counts, [100, 100, 50]);
}

#[test]
fn an_error_text_does_not_list_every_element() {
    let elements = (0..2000u32).map(|n| Element::new(Value::Mark(n))).collect();
    let mut tx = Transaction::new();
    tx.add_elements(&T, "s", elements);
    let operation = tx.operation(0).unwrap();
    assert_eq!(operation.brief(Some(7)), "add element inet t s { 0x00000007 }");
    assert!(operation.brief(None).ends_with("0x00000002, … 1997 more }"));
}

#[test]
fn keys_are_padded_only_in_concatenations_and_read_back() {
    let single = Key::from(Value::Port(80));
    assert_eq!(single.to_bytes(), [0, 80]);
    let both = Key::concat([Value::Proto(6), Value::Port(80)]);
    assert_eq!(both.to_bytes(), [6, 0, 0, 0, 0, 80, 0, 0]);
    let types = [FieldType::InetProto, FieldType::InetService];
    assert_eq!(Key::from_bytes(&types, &both.to_bytes()), Some(both));
    assert_eq!(Key::from_bytes(&types, &[6, 0, 0]), None);
    assert_eq!(Key::from_bytes(&types[..1], &[]), None);
    assert_eq!(Key::from_bytes(&types, &[0; 12]), None, "more than the types");
}

#[test]
fn what_is_cut_off_ends_the_scan() {
    let mut tx = Transaction::new();
    tx.add_element(&T, "s", Element::new("eth0").owner("o"));
    let bytes = tx.to_bytes();
    for length in 0..bytes.len() {
        for message in Messages(&bytes[..length]) {
            for attribute in message.attributes() {
                attribute.nested().for_each(drop);
            }
        }
    }
}
