//! The iptables backend, and what the Go reference leaves.

use std::process::Command;

use podlink_tests::outside::{NODE, OUTSIDE};
use podlink_tests::{BinDir, need};
use serde_json::json;

use crate::ground::*;

#[test]
fn a_node_is_upgraded_with_pods_running() {
    let ground = Ground::new(&["a", "b"]);
    let config = portmap(json!({ "cniVersion": "1.0.0" }), json!([port(8080, 80, "tcp"), port(53, 53, "udp")]));
    let mut result = ground.pods[0].1.clone();
    result["cniVersion"] = json!("1.0.0");
    let call =
        |bins: &BinDir| ground.node.plugin(bins, "portmap").pod(ground.pod(0)).config(&config).prev_result(&result);
    call(&BinDir::reference()).add().success();
    assert!(!ground.owned().is_empty());
    let bare = json!({ "cniVersion": "1.0.0", "name": "net", "type": "portmap" });
    ground.node.typed(&bare).pod(ground.pod(0)).without("CNI_NETNS").del().success();
    assert_eq!(ground.owned(), [""; 0]);

    call(&BinDir::reference()).add().success();
    let gc = |valid: &[&str]| ground.gc(json!({}), valid);
    assert!(!gc(&["pod-a"]).is_empty());
    assert_eq!(gc(&["pod-b"]), [""; 0]);
}

#[test]
fn the_reference_makes_the_same_chains_and_deletes_ours() {
    let ground = Ground::with(&["a"], &SUBNETS[..1]);
    let keys = json!({ "cniVersion": "1.0.0", "backend": "iptables" });
    let ports = json!([port(8080, 80, "tcp"), port(53, 53, "udp"), port_of(NODE[0], 90, "sctp")]);
    let mut result = ground.pods[0].1.clone();
    result["cniVersion"] = json!("1.0.0");
    let config = portmap(keys, ports);
    let call =
        |bins: &BinDir| ground.node.plugin(bins, "portmap").pod(ground.pod(0)).config(&config).prev_result(&result);
    call(&BinDir::ours()).add().success();
    let ours = ground.owned();
    call(&BinDir::reference()).del().success();
    assert_eq!(ground.owned(), [""; 0]);
    // And it makes the same.
    call(&BinDir::reference()).add().success();
    assert_eq!(ground.owned(), ours);
    call(&BinDir::ours()).check().success();
}

#[test]
fn rules_of_the_references_nftables_backend_go_too() {
    let ground = Ground::new(&["a"]);
    // As containernetworking/plugins 1.6 makes them.
    let ruleset = r#"
        table ip cni_hostport {
            chain hostports {
                tcp dport 8080 dnat to 10.1.0.2:80 comment "pod-a"
                tcp dport 8081 dnat to 10.1.0.3:80 comment "pod-b"
            }
            chain masquerading {
                type nat hook postrouting priority 100;
                ip saddr 10.1.0.2 ip daddr 10.1.0.2 masquerade comment "pod-a"
            }
        }
        table ip6 cni_hostport {
            chain hostports { tcp dport 8080 dnat to [fd00:1::2]:80 comment "pod-a"; }
        }"#;
    ground.node.finish(Command::new(need::tool("nft")).args(["-f", "-"]), ruleset.as_bytes()).success();
    ground.call(0, json!({}), json!([])).del().success();
    let left = ground.node.sh(&["nft", "list", "ruleset"]);
    assert!(!left.contains("pod-a") && left.contains("pod-b"), "{left}");
}

#[test]
fn legacy_iptables_works_and_is_cleaned() {
    let ground = Ground::new(&["a"]);
    let legacy = iptables_of(&ground, "legacy");
    let path = format!("{}:/usr/sbin:/usr/bin", legacy.display());
    let call = ground.call(0, json!({ "backend": "iptables" }), json!([port(8080, 80, "tcp")])).env("PATH", path);
    call.add().success();
    call.add().success();
    call.check().success();
    for family in 0..2 {
        assert!(tcp(&ground.outside, at(NODE[family], 8080), ground.pod(0), 80, ARRIVES).is_ok());
        assert_eq!(tcp(ground.pod(0), at(NODE[family], 8080), ground.pod(0), 80, ARRIVES), Ok(ip(BRIDGE[family])));
    }
    call.del().success();
    for family in ["iptables", "ip6tables"] {
        let saved = ground.node.sh(&[&format!("{family}-legacy-save")]);
        assert!(!saved.contains("CNI-DN-") && saved.contains("CNI-HOSTPORT-DNAT"), "{saved}");
    }
}

#[test]
fn conditions_and_marks_are_the_references() {
    let ground = Ground::new(&["a", "b"]);
    let keys = json!({ "conditionsV4": ["!", "-s", OUTSIDE[0]], "markMasqBit": 9 });
    let call = ground.call(0, keys, json!([port(8080, 80, "tcp")]));
    call.add().success();
    call.check().success();
    let a = ground.pod(0);
    assert!(tcp(&ground.outside, at(NODE[0], 8080), a, 80, ARRIVES).is_err());
    assert!(tcp(&ground.outside, at(NODE[1], 8080), a, 80, ARRIVES).is_ok());
    assert_eq!(tcp(a, at(NODE[0], 8080), a, 80, ARRIVES), Ok(ip(BRIDGE[0])));
    assert!(ground.node.sh(&["iptables-save", "-t", "nat"]).contains("--set-xmark 0x200/0x200"));
    call.del().success();

    let keys = json!({ "externalSetMarkChain": "MY-MARK" });
    let call = ground.call(0, keys, json!([port(8080, 80, "tcp")]));
    let error = call.add().failure();
    assert!(error.text.contains("MY-MARK"), "{}", error.text);
    assert_eq!(ground.owned(), [""; 0]);
    for program in ["iptables", "ip6tables"] {
        ground.node.sh(&[program, "-t", "nat", "-N", "MY-MARK"]);
    }
    call.add().success();
    call.check().success();
    assert!(ground.node.sh(&["iptables-save", "-t", "nat"]).contains("-j MY-MARK"));
    call.del().success();
    assert_eq!(ground.owned(), [""; 0]);
}
