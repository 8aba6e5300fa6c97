//! Conditions of nft: who may use a port, and who may not.

use podlink_tests::outside::{NODE, OUTSIDE};
use podlink_tests::{Namespace, need};
use serde_json::json;

use crate::ground::*;

fn chains(ground: &Ground) -> String {
    let listed = ground.node.sh(&["nft", "list", "table", "inet", "podlink_hostport"]);
    listed.lines().filter(|line| line.contains("conditions-")).map(str::trim).collect::<Vec<_>>().join("; ")
}

#[test]
fn only_connections_for_which_they_hold_are_translated() {
    need::root();
    // Conditions, and whether the outside host, and the pod itself, get to the pod.
    for (words, outside, itself) in [
        ("ip saddr 192.0.2.0/24", true, false),
        ("ip saddr != 192.0.2.0/24", false, true),
        ("ip saddr { 192.0.2.2, 10.9.0.0/16 }", true, false),
        ("ip saddr != { 192.0.2.1-192.0.2.2, 10.9.0.0/16 }", false, true),
        ("ip daddr 192.0.2.1 tcp dport { 8080, 8081 }", true, true),
        ("tcp sport 1-1023", false, false),
        ("th sport { 1-9, 1024-65535 }", true, true),
        ("udp dport 8080", false, false),
        ("iifname \"up0\"", true, false),
        ("meta iifname != cni*", true, false),
        ("iifname { up0, cni0 }", true, true),
        ("meta l4proto { tcp, udp }", true, true),
        ("meta mark 0", true, true),
        ("meta mark & 0x2000 == 0x2000", false, false),
        ("ip saddr 192.0.2.2 ip daddr != 192.0.2.1", false, false),
    ] {
        let ground = Ground::new(&["a"]);
        let keys = json!({ "conditionsV4": words.split(' ').collect::<Vec<_>>() });
        let call = ground.call(0, keys, json!([port(8080, 80, "tcp"), port_of(NODE[0], 8081, "tcp")]));
        call.add().success();
        call.add().success();
        call.check().success();
        let a = ground.pod(0);
        let reaches = |client: &Namespace, to: &str, port: u16| tcp(client, at(to, port), a, 80, ARRIVES).is_ok();
        for port in [8080, 8081] {
            assert_eq!(reaches(&ground.outside, NODE[0], port), outside, "{words}: outside, {port}");
            assert_eq!(reaches(a, NODE[0], port), itself, "{words}: itself, {port}");
        }
        // IPv6 has none of its own.
        assert!(reaches(&ground.outside, NODE[1], 8080), "{words}");
        // For whom they do not hold, the node itself answers.
        if !outside {
            let seen = tcp(&ground.outside, at(NODE[0], 8080), &ground.node, 8080, ARRIVES);
            assert_eq!(seen, Ok(ip(OUTSIDE[0])), "{words}");
        }
        ground.node.sh(&["nft", "delete", "table", "inet", "podlink_hostport"]);
        assert!(call.check().code() != Some(0));
        call.add().success();
        call.check().success();
        assert_eq!(reaches(&ground.outside, NODE[0], 8080), outside, "{words}: made again");
        ground.call(0, json!({}), json!([])).del().success();
        assert_eq!((ground.owned(), chains(&ground)), (vec![], String::new()), "{words}");
    }
}

#[test]
fn both_families_have_their_own_and_pods_share_them() {
    let ground = Ground::new(&["a", "b"]);
    let keys = json!({
        "backend": "nftables",
        "conditionsV4": ["ip saddr != 192.0.2.2"],
        "conditionsV6": ["ip6", "saddr", "{", "2001:db8:ffff::/64,", "fd99::1", "}"],
    });
    let calls = [0, 1].map(|pod| ground.call(pod, keys.clone(), json!([port(8080 + pod as u32, 80, "tcp")])));
    calls.iter().for_each(|call| drop(call.add().success()));
    let reached = |pod: usize, family: usize| {
        tcp(&ground.outside, at(NODE[family], 8080 + pod as u16), ground.pod(pod), 80, ARRIVES).is_ok()
    };
    assert_eq!([reached(0, 0), reached(0, 1), reached(1, 0), reached(1, 1)], [false, true, false, true]);
    // A chain for each family, whatever the number of pods.
    assert_eq!(chains(&ground).matches("chain conditions-").count(), 2, "{}", chains(&ground));
    calls[0].del().success();
    calls[1].check().success();
    assert!(reached(1, 1) && !reached(1, 0));
    // Drift of the conditions themselves.
    let chain = chains(&ground);
    let set = chain.split("set ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap_or_default();
    ground.node.sh(&["nft", "add", "element", "inet", "podlink_hostport", set, "{ fd98::1 }"]);
    assert!(calls[1].check().failure().text.contains(set));
    // Other conditions for the same pod; the old ones go with GC, as nobody tells DEL of them.
    let changed = ground.call(1, json!({ "conditionsV4": ["ip saddr 192.0.2.2"] }), json!([port(8081, 80, "tcp")]));
    changed.add().success();
    changed.check().success();
    assert!(reached(1, 0) && reached(1, 1));
    assert_eq!(ground.gc(json!({}), &[]), [""; 0]);
    assert_eq!(chains(&ground), "");
}
