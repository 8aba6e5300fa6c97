//! The ptp plugin: each verb, each drift, packets, kills, and the reference beside it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod drift;
mod packets;
mod reference;
mod removal;

use podlink_tests::conf::{host_local, with};
use podlink_tests::{Attached, Node};
use serde_json::{Value, json};

/// The addresses of the networks.
const SUBNETS: [&str; 2] = ["10.31.0.0/24", "fd31::/64"];

/// The point-to-point network `net` of both families, with `keys` added.
fn ptp(keys: Value) -> Value {
    let mut ipam = host_local(&SUBNETS);
    ipam["routes"] = json!([{ "dst": "0.0.0.0/0" }, { "dst": "::/0" }]);
    with(json!({ "cniVersion": "1.1.0", "name": "net", "type": "ptp", "ipam": ipam }), keys)
}

#[test]
fn the_result_and_the_links_are_as_documented() {
    let at = Attached::to(&ptp(json!({ "mtu": 1400, "dns": { "nameservers": ["10.0.0.10"] } })));
    let interfaces = &at.result["interfaces"];
    assert_eq!((&interfaces[1]["name"], &interfaces[1]["sandbox"]), (&json!("eth0"), &json!("/run/netns/a")));
    assert_eq!([&interfaces[0]["mtu"], &interfaces[1]["mtu"]], [1400, 1400]);
    assert_eq!([&at.result["ips"][0]["interface"], &at.result["ips"][1]["interface"]], [1, 1]);
    assert_eq!(at.result["dns"], json!({ "nameservers": ["10.0.0.10"] }));
    let host = interfaces[0]["name"].as_str().unwrap();
    assert_eq!(at.link_names(), [host]);
    assert_eq!(at.addresses(host), ["10.31.0.1/32", "fd31::1/128"]);
    assert_eq!(at.link_of_node(host)["ifalias"], "podlink:net/pod-a/eth0");
    assert_eq!((at.eth0()["mtu"].clone(), at.link_of_node(host)["mtu"].clone()), (json!(1400), json!(1400)));
    let dst = |route: &Value| route["dst"].as_str().unwrap_or_default().to_owned();
    let routes: Vec<String> = at.routes().iter().map(dst).collect();
    assert!(routes.contains(&"10.31.0.2".to_owned()) && routes.contains(&"fd31::2".to_owned()), "{routes:?}");
    // Nothing on the pod's link but the gateway: neighbours of the same subnet are reached through the node.
    let on_link = at.pod.routes().iter().filter(|route| route.get("gateway").is_none()).map(dst).collect::<Vec<_>>();
    assert_eq!(on_link, ["10.31.0.1", "fd31::1"]);
    assert_eq!((at.sysctl("net/ipv4/ip_forward"), at.sysctl("net/ipv6/conf/all/forwarding")), ("1".into(), "1".into()));
}

#[test]
fn a_failed_add_leaves_nothing_and_says_what_to_do() {
    let address = |address: Value| json!({ "ipam": { "type": "static", "addresses": [address] } });
    for (keys, words) in [
        (json!({ "ipam": {} }), &["ipam.type"][..]),
        (json!({ "mtu": 1000 }), &["1000", "fd31::2/64"]),
        (address(json!({ "address": "10.0.0.2/24" })), &["10.0.0.2/24", "gateway"]),
        (json!({ "ipam": { "type": "static" } }), &["missing IP config"]),
        (json!({ "ipam": { "type": "nonesuch" } }), &["nonesuch"]),
    ] {
        let node = Node::new();
        let pod = node.pod("a");
        let error = node.typed(&ptp(keys.clone())).pod(&pod).add().failure();
        words.iter().for_each(|word| assert!(error.text.contains(word), "{keys}: {error:?}"));
        assert_eq!((node.link_names(), pod.link_names(), node.reserved("net")), (vec![], vec![], vec![]), "{keys}");
    }
    let at = Attached::to(&ptp(json!({})));
    let error = at.typed(&at.config).pod(&at.pod).add().failure();
    assert!(error.text.contains("already attached"), "{error:?}");
    at.call().check().success();
}

#[test]
fn every_version() {
    for version in ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"] {
        let at = Attached::to(&ptp(json!({ "cniVersion": version })));
        if version >= "0.4.0" {
            at.call().check().success();
        }
        at.call().del().success();
        assert_eq!((at.link_names(), at.reserved("net")), (vec![], vec![]), "{version}");
    }
}

#[test]
fn status_asks_the_ipam_plugin() {
    let node = Node::new();
    let status = |config: &Value| node.typed(config).run("STATUS");
    status(&ptp(json!({ "ipMasq": true }))).success();
    let full = json!({ "ipam": { "type": "host-local", "ranges": [[{ "subnet": "10.31.0.0/30" }]] } });
    let pod = node.pod("a");
    node.typed(&ptp(full.clone())).pod(&pod).add().success();
    assert_eq!(status(&ptp(full)).failure().code, 50);
    assert_eq!(status(&ptp(json!({ "ipam": { "type": "nonesuch" } }))).failure().code, 50);
}
