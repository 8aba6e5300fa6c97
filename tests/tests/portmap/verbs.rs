//! ADD, CHECK, DEL, GC and STATUS, and what they refuse.

use podlink_tests::outside::NODE;
use podlink_tests::{Node, Outside, conf};
use serde_json::{Value, json};

use crate::ground::*;

#[test]
fn a_second_add_changes_nothing_and_one_with_other_ports_replaces() {
    for backend in BACKENDS {
        let ground = Ground::new(&["a", "b"]);
        let keys = json!({ "backend": backend });
        let other = ground.call(1, keys.clone(), json!([port(9000, 80, "tcp"), port_of(NODE[0], 7000, "tcp")]));
        other.add().success();
        let ports = json!([port(8080, 80, "tcp"), port_of(BRIDGE[0], 7000, "tcp")]);
        let call = ground.call(0, keys.clone(), ports);
        call.add().success();
        let before = ground.owned();
        call.add().success();
        assert_eq!(ground.owned(), before, "{backend}");
        let call = ground.call(0, keys, json!([port(8081, 80, "tcp"), port(8080, 81, "tcp")]));
        call.add().success();
        call.check().success();
        other.check().success();
        assert!(tcp(&ground.outside, at(NODE[0], 8080), ground.pod(0), 81, ARRIVES).is_ok());
        call.del().success();
        other.check().success();
        other.del().success();
        assert_eq!(ground.owned(), [""; 0], "{backend}");
    }
}

#[test]
fn del_needs_nothing_but_the_attachment() {
    for backend in BACKENDS {
        let ground = Ground::new(&["a", "b"]);
        let keys = json!({ "backend": backend });
        let ports = json!([
            port(8080, 80, "tcp"),
            port(53, 53, "udp"),
            port_of(NODE[0], 90, "sctp"),
            port_of("127.0.0.1", 90, "sctp")
        ]);
        ground.call(0, keys.clone(), ports).add().success();
        let other = ground.call(1, keys, json!([port(8081, 80, "tcp")]));
        other.add().success();
        let bare = json!({ "cniVersion": "1.1.0", "name": "net", "type": "portmap", "snat": "no longer valid" });
        let del = ground.node.typed(&bare).pod(ground.pod(0)).without("CNI_NETNS");
        // Another network's, and another container's, stay.
        let before = ground.owned();
        ground.node.typed(&conf::with(bare.clone(), json!({ "name": "other" }))).pod(ground.pod(0)).del().success();
        del.clone().env("CNI_CONTAINERID", "pod-c").del().success();
        assert_eq!(ground.owned(), before, "{backend}");
        del.del().success();
        other.check().success();
        assert!(!ground.owned().join("\n").contains("pod-a"), "{backend}: {:?}", ground.owned());
        del.del().success();
        other.del().success();
        assert_eq!(ground.owned(), [""; 0], "{backend}");
    }
}

#[test]
fn del_finds_ports_that_the_map_of_owners_lost() {
    let ground = Ground::new(&["a"]);
    let call = ground.call(0, json!({}), json!([port(8080, 80, "tcp"), port_of(NODE[0], 90, "udp")]));
    call.add().success();
    ground.node.sh(&["nft", "flush", "map", "inet", "podlink_hostport", "owned"]);
    call.del().success();
    let left: Vec<String> = ground.owned().into_iter().filter(|line| !line.contains("hairpin")).collect();
    assert_eq!(left, [""; 0]);
    call.add().success();
    ground.node.sh(&["nft", "flush", "map", "inet", "podlink_hostport", "owned"]);
    assert_eq!(ground.gc(json!({}), &[]), [""; 0]);
}

#[test]
fn gc_removes_what_no_valid_attachment_of_the_network_owns() {
    for backend in BACKENDS {
        let ground = Ground::new(&["a", "b"]);
        let keys = json!({ "backend": backend });
        let first = ground.call(0, keys.clone(), json!([port(8080, 80, "tcp"), port_of(NODE[0], 90, "udp")]));
        let second = ground.call(1, keys.clone(), json!([port(8081, 80, "tcp"), port_of(BRIDGE[0], 90, "udp")]));
        first.add().success();
        second.add().success();
        let all = ground.owned();
        assert_eq!(ground.gc(json!({ "name": "other" }), &[]), all, "{backend}");
        assert_eq!(ground.gc(keys.clone(), &["pod-a", "pod-b"]), all, "{backend}");
        ground.gc(keys.clone(), &["pod-b"]);
        second.check().success();
        first.check().failure();
        assert_eq!(ground.gc(keys, &[]), [""; 0], "{backend}");
    }
}

#[test]
fn check_finds_every_drift() {
    let table = "inet podlink_hostport";
    let drifts = [
        format!("nft delete element {table} any4 {{ tcp . 8080 }}"),
        format!("nft delete element {table} any6 {{ udp . 8080 }}"),
        format!("nft delete element {table} address4 {{ {} . tcp . 90 }}", NODE[0]),
        format!("nft flush set {table} itself4"),
        format!("nft flush set {table} hairpin4"),
        format!("nft flush set {table} hairpin6"),
        format!("nft flush set {table} local4"),
        format!("nft flush map {table} claims"),
        format!("nft flush map {table} owned"),
        format!("nft flush chain {table} hostports"),
        format!("nft flush chain {table} prerouting"),
        format!("nft flush chain {table} output"),
        format!("nft flush chain {table} postrouting"),
        format!("nft flush chain {table} loopback"),
        format!("nft insert rule {table} prerouting accept"),
        format!("nft delete table {table}"),
        "sysctl -qw net.ipv4.conf.cni0.route_localnet=0".to_owned(),
    ];
    let ground = Ground::new(&["a"]);
    let ports = json!([port(8080, 80, "tcp"), port(8080, 80, "udp"), port_of(NODE[0], 90, "tcp")]);
    for line in drifts {
        let call = ground.call(0, json!({}), ports.clone());
        call.add().success();
        call.check().success();
        ground.node.sh(&line.split(' ').collect::<Vec<_>>());
        let error = call.check().failure();
        assert!(error.text.contains("has changed"), "{line}: {}", error.text);
        call.del().success();
        ground.node.sh(&["nft", "flush", "ruleset"]);
    }
}

#[test]
fn check_finds_drift_of_the_chains() {
    let ground = Ground::new(&["a"]);
    let keys = json!({ "backend": "iptables" });
    let call = ground.call(0, keys, json!([port(8080, 80, "tcp"), port_of(NODE[1], 90, "udp")]));
    call.add().success();
    let saved = ground.node.sh(&["iptables-save", "-t", "nat"]);
    let own = saved.lines().find_map(|line| line.strip_prefix(":CNI-DN-")).and_then(|line| line.split(' ').next());
    let own = format!("CNI-DN-{}", own.unwrap_or_default());
    for line in [
        format!("iptables -t nat -F {own}"),
        format!("iptables -t nat -D {own} 1"),
        format!("ip6tables -t nat -F {own}"),
        "iptables -t nat -F CNI-HOSTPORT-DNAT".to_owned(),
        "ip6tables -t nat -F CNI-HOSTPORT-DNAT".to_owned(),
        "iptables -t nat -F CNI-HOSTPORT-SETMARK".to_owned(),
        "iptables -t nat -F CNI-HOSTPORT-MASQ".to_owned(),
        "iptables -t nat -F PREROUTING".to_owned(),
        "iptables -t nat -F OUTPUT".to_owned(),
        "iptables -t nat -F POSTROUTING".to_owned(),
        "iptables -t raw -F PREROUTING".to_owned(),
        "sysctl -qw net.ipv4.conf.cni0.route_localnet=0".to_owned(),
    ] {
        call.check().success();
        ground.node.sh(&line.split(' ').collect::<Vec<_>>());
        let error = call.check().failure();
        assert!(error.text.contains("has changed"), "{line}: {}", error.text);
        // A second ADD repairs it.
        call.add().success();
    }
}

#[test]
fn every_version_of_the_specification_works() {
    for version in ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"] {
        let node = Node::new();
        let outside = Outside::of(&node);
        let pod = node.pod("a");
        let bridge = conf::gateway(&SUBNETS, json!({ "cniVersion": version, "isDefaultGateway": true }));
        let result = node.typed(&bridge).pod(&pod).add().success();
        let config = portmap(json!({ "cniVersion": version }), json!([port(8080, 80, "tcp")]));
        let call = node.typed(&config).pod(&pod).prev_result(&result);
        assert_eq!(call.add().success()["cniVersion"], version);
        for to in NODE {
            assert!(tcp(&outside, at(to, 8080), &pod, 80, ARRIVES).is_ok(), "{version}");
        }
        if version >= "0.4.0" {
            call.check().success();
        }
        call.del().success();
    }
}

#[test]
fn bad_input_is_refused_and_changes_nothing() {
    let ground = Ground::with(&["a"], &SUBNETS[..1]);
    let before = ground.node.sh(&["nft", "list", "ruleset"]);
    let good = port(8080, 80, "tcp");
    for (keys, ports, word) in [
        (json!({}), json!([good, port(0, 80, "tcp")]), "portMappings[1].hostPort"),
        (json!({}), json!([good, port(70000, 80, "tcp")]), "portMappings[1].hostPort"),
        (json!({}), json!([good, port(80, 0, "tcp")]), "portMappings[1].containerPort"),
        (json!({}), json!([good, port(80, 80, "icmp")]), "portMappings[1].protocol"),
        (json!({}), json!([good, port_of("10.1.2", 80, "tcp")]), "portMappings[1].hostIP"),
        (json!({}), json!([good, port_of("2001:db8::1", 80, "tcp")]), "portMappings[1].hostIP"),
        (json!({}), json!([good, good]), "portMappings[1]"),
        (json!({ "backend": "ipvs" }), json!([good]), "backend"),
        (json!({ "backend": "nftables", "conditionsV4": ["-s", "1.2.3.4"] }), json!([good]), "conditionsV4"),
        (json!({ "backend": "iptables", "conditionsV6": ["ip6", "saddr", "::1"] }), json!([good]), "conditionsV6"),
        (json!({ "markMasqBit": 32 }), json!([good]), "markMasqBit"),
        (json!({ "markMasqBit": 1, "externalSetMarkChain": "X" }), json!([good]), "externalSetMarkChain"),
    ] {
        let error = ground.call(0, keys, ports).add().failure();
        assert!(matches!(error.code, 2 | 7) && error.text.contains(word), "{word}: {} {}", error.code, error.text);
        assert_eq!(ground.node.sh(&["nft", "list", "ruleset"]), before, "{word}");
    }
    let unchained = ground.node.typed(&portmap(json!({}), json!([good]))).pod(ground.pod(0));
    let error = unchained.add().failure();
    assert!(error.code == 7 && error.text.contains("prevResult"), "{}", error.text);
}

#[test]
fn status_says_whether_the_backend_works() {
    let node = Node::new();
    let status = |keys: Value| node.typed(&portmap(keys, json!([]))).env("PATH", "/nowhere").run("STATUS");
    for backend in BACKENDS {
        status(json!({ "backend": backend })).success();
    }
    status(json!({})).success();
    let error = status(json!({ "backend": "ipvs" })).failure();
    assert_eq!(error.code, 50, "{}", error.text);
}

#[test]
fn a_failed_add_leaves_nothing() {
    for backend in BACKENDS {
        let ground = Ground::new(&["a"]);
        // As in a container that is not privileged: the last step, which writes there, fails.
        ground.node.sh(&["mount", "--bind", "/proc/sys", "/proc/sys"]);
        ground.node.sh(&["mount", "-o", "remount,ro,bind", "/proc/sys"]);
        let call = ground.call(0, json!({ "backend": backend }), json!([port(8080, 80, "tcp"), port(53, 53, "udp")]));
        let error = call.add().failure();
        assert!(error.text.contains("route_localnet") && error.text.contains("cni0"), "{backend}: {}", error.text);
        assert_eq!(ground.owned(), [""; 0], "{backend}");
        ground.node.sh(&["umount", "/proc/sys"]);
        call.add().success();
        call.check().success();
    }
}
