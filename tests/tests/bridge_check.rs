//! CHECK of the bridge plugin: content with what ADD made, and with each single drift it names what and what it found.

use podlink_tests::{Attached, conf};
use serde_json::{Value, json};

/// Dual stack with every setting on that CHECK looks at and that goes together.
fn config() -> Value {
    let keys = json!({ "isDefaultGateway": true, "hairpinMode": true, "portIsolation": true });
    conf::gateway(&["10.1.0.0/24", "fd00:1::/64"], keys)
}

#[test]
fn what_add_made_passes() {
    let v4 = &["10.1.0.0/24"][..];
    for config in [
        config(),
        conf::bridge(json!({})),
        conf::bridge(json!({ "disableContainerInterface": true })),
        conf::bridge(json!({ "ipam": conf::host_local(v4) })),
        conf::gateway(v4, json!({})),
        conf::gateway(v4, json!({ "mtu": 1400, "promiscMode": true })),
        conf::gateway(v4, json!({ "cniVersion": "0.4.0" })),
        conf::gateway(v4, json!({ "cniVersion": "1.0.0", "runtimeConfig": { "mac": "02:00:00:00:00:05" } })),
        conf::gateway(&["fd00:1::/64"], json!({ "isDefaultGateway": true })),
        conf::gateway(&["10.1.0.0/24", "10.2.0.0/24"], json!({})),
    ] {
        let at = Attached::to(&config);
        assert_eq!(at.call().check().success(), Value::Null, "{config}");
    }
}

#[test]
fn a_foreign_bridge_may_change_its_mac_when_pods_come() {
    let node = podlink_tests::Node::new();
    node.sh(&["ip", "link", "add", "cni0", "type", "bridge"]);
    let at = Attached::on(node, &conf::gateway(&["10.1.0.0/24"], json!({})));
    let pod = at.pod("b");
    at.typed(&at.config).pod(&pod).add().success();
    at.call().check().success();
}

/// A drift: what it is called, how it is made, and what the error must say.
type Drift = (&'static str, fn(&Attached), &'static [&'static str]);

/// `ip`, `bridge` or `busybox` on the node; `PORT` stands for the pod's bridge port.
fn node(at: &Attached, line: &str) {
    let line = line.replace("PORT", &at.port_name());
    at.sh(&line.split(' ').collect::<Vec<_>>());
}

fn pod(at: &Attached, line: &str) {
    at.pod.sh(&line.split(' ').collect::<Vec<_>>());
}

const DRIFTS: &[Drift] = &[
    ("the pair deleted", |at| node(at, "ip link del PORT"), &["eth0", "no interface"]),
    ("the pod's end down", |at| pod(at, "ip link set eth0 down"), &["eth0", "expected up", "found down"]),
    (
        "the pod's end another kind of link",
        |at| {
            pod(at, "ip link del eth0");
            pod(at, "ip link add eth0 type bridge");
        },
        &["eth0", "veth", "bridge"],
    ),
    (
        "the peer replaced",
        |at| {
            let mac = at.eth0()["address"].as_str().unwrap_or_default().to_owned();
            pod(at, "ip link del eth0");
            node(at, &format!("ip link add other type veth peer name eth0 address {mac} netns a"));
            pod(at, "ip link set eth0 up");
        },
        &["other"],
    ),
    ("the master removed", |at| node(at, "ip link set PORT nomaster"), &["veth", "cni0", "none"]),
    (
        "another master",
        |at| {
            node(at, "ip link add br-other up type bridge");
            node(at, "ip link set PORT master br-other");
        },
        &["veth", "cni0", "br-other"],
    ),
    ("the bridge deleted", |at| node(at, "ip link del cni0"), &["cni0", "no interface"]),
    ("the bridge down", |at| node(at, "ip link set cni0 down"), &["cni0", "expected up", "found down"]),
    ("the port down", |at| node(at, "ip link set PORT down"), &["veth", "expected up", "found down"]),
    (
        "the pod's IPv4 address removed",
        |at| pod(at, "ip addr del 10.1.0.2/24 dev eth0"),
        &["eth0", "10.1.0.2/24", "fd00:1::2/64"],
    ),
    (
        "the pod's IPv6 address removed",
        |at| pod(at, "ip addr del fd00:1::2/64 dev eth0"),
        &["fd00:1::2/64", "10.1.0.2/24"],
    ),
    (
        "the gateway's address removed",
        |at| node(at, "ip addr del 10.1.0.1/24 dev cni0"),
        &["cni0", "10.1.0.1/24", "fd00:1::1/64"],
    ),
    (
        "the IPv4 default route removed",
        |at| pod(at, "ip route del default"),
        &["route", "0.0.0.0/0 via 10.1.0.1", "10.1.0.0/24"],
    ),
    ("the IPv6 default route removed", |at| pod(at, "ip -6 route del default"), &["route", "::/0 via fd00:1::1"]),
    (
        "the default route by another gateway",
        |at| pod(at, "ip route replace default via 10.1.0.9"),
        &["0.0.0.0/0 via 10.1.0.1", "10.1.0.9"],
    ),
    (
        "IPv4 forwarding off",
        |at| node(at, "busybox sysctl -w net/ipv4/ip_forward=0"),
        &["ip_forward", "expected 1", "found 0"],
    ),
    (
        "IPv6 forwarding off",
        |at| node(at, "busybox sysctl -w net/ipv6/conf/all/forwarding=0"),
        &["forwarding", "expected 1", "found 0"],
    ),
    (
        "router advertisements on the bridge",
        |at| node(at, "busybox sysctl -w net/ipv6/conf/cni0/accept_ra=1"),
        &["cni0/accept_ra", "expected 0", "found 1"],
    ),
    (
        "router advertisements on the port",
        |at| node(at, "busybox sysctl -w net/ipv6/conf/PORT/accept_ra=2"),
        &["veth", "accept_ra", "expected 0", "found 2"],
    ),
    ("the pod's MAC", |at| pod(at, "ip link set eth0 address 02:00:00:00:00:07"), &["eth0", "02:00:00:00:00:07"]),
    ("the port's MAC", |at| node(at, "ip link set PORT address 02:00:00:00:00:07"), &["veth", "02:00:00:00:00:07"]),
    ("the bridge's MAC", |at| node(at, "ip link set cni0 address 02:00:00:00:00:07"), &["cni0", "02:00:00:00:00:07"]),
    ("hairpin off", |at| node(at, "bridge link set dev PORT hairpin off"), &["veth", "hairpin true", "found false"]),
    (
        "isolation off",
        |at| node(at, "bridge link set dev PORT isolated off"),
        &["veth", "isolated true", "found false"],
    ),
    (
        "the reservation removed",
        |at| {
            let file = at.outside("/var/lib/cni/networks/net/10.1.0.2");
            std::fs::remove_file(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        },
        &["host-local", "10.1.0.2"],
    ),
];

#[test]
fn every_drift_is_found_and_named() {
    for (name, drift, expected) in DRIFTS {
        let at = Attached::to(&config());
        drift(&at);
        let error = at.call().check().failure();
        for part in *expected {
            assert!(error.text.contains(part), "{name}: the error must say {part:?}: {}", error.text);
        }
        assert!(error.text.contains("pod-a"), "{name}: the error must name the container: {}", error.text);
    }
}

#[test]
fn promiscuous_mode_that_was_asked_for_is_missed() {
    let at = Attached::to(&conf::gateway(&["10.1.0.0/24"], json!({ "promiscMode": true })));
    at.sh(&["ip", "link", "set", "cni0", "promisc", "off"]);
    let error = at.call().check().failure();
    assert!(error.text.contains("cni0") && error.text.contains("promiscuous"), "{}", error.text);
}

#[test]
fn what_others_added_is_no_drift() {
    let at = Attached::to(&config());
    for line in [
        "ip addr add 10.8.0.2/24 dev eth0",
        "ip addr add fd08::2/64 dev eth0 nodad",
        "ip route add 192.168.9.0/24 via 10.1.0.1",
        "ip link set eth0 mtu 1400",
        "ip link add extra type veth peer name extra-peer",
    ] {
        pod(&at, line);
    }
    node(&at, "ip addr add 10.8.0.1/24 dev cni0");
    at.call().check().success();
    // So do a later plugin's entries in the result, on an interface of its own.
    let mut result = at.result.clone();
    for (list, item) in [
        ("interfaces", json!({ "name": "extra", "sandbox": "/run/netns/a" })),
        ("ips", json!({ "address": "10.77.0.2/24", "interface": 3 })),
    ] {
        result[list].as_array_mut().unwrap().push(item);
    }
    at.call().prev_result(&result).check().success();
}

#[test]
fn check_needs_a_prev_result_that_is_about_the_attachment() {
    let at = Attached::to(&config());
    let without = at.typed(&at.config).pod(&at.pod).check().failure();
    assert!(without.text.contains("prevResult"), "{}", without.text);
    let empty = at.call().prev_result(&json!({ "cniVersion": "1.1.0" })).check().failure();
    assert!(empty.text.contains("prevResult") && empty.text.contains("cni0"), "{}", empty.text);
    let mut other = at.result.clone();
    other["interfaces"][2]["name"] = json!("net9");
    let other = at.call().prev_result(&other).check().failure();
    assert!(other.text.contains("eth0") && other.text.contains("net9"), "{}", other.text);
}

#[test]
fn a_gone_or_wrong_namespace_is_named() {
    let at = Attached::to(&config());
    let file = at.dir().join("plain");
    podlink_tests::files::write(&file, "");
    for netns in ["/run/netns/gone".to_owned(), file.display().to_string()] {
        let error = at.call().env("CNI_NETNS", &netns).check().failure();
        assert!(error.code == 8 && error.text.contains(&netns), "{error:?}");
    }
}
