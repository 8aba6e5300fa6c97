//! `ingressPolicy`: which pods reach which, seen by packets.

use std::net::IpAddr;

use podlink_tests::Node;
use serde_json::json;

use crate::{Member, Net, all_elements, cut_off, elements, outside_address, outside_of, parse, reaches};

fn both(member: &Member<'_>) -> [IpAddr; 2] {
    [member.v4(), member.v6()]
}

/// Two pods on each of three bridges; the third has no policy.
fn fenced<'n>(node: &'n Node, backend: &str, policy: &str) -> (Vec<Member<'n>>, Vec<Member<'n>>, Member<'n>) {
    let keys = json!({ "backend": backend, "ingressPolicy": policy });
    let a = Net::on("br-a", &["10.1.0.0/24", "fd00:1::/64"], keys.clone());
    let b = Net::on("br-b", &["10.2.0.0/24", "fd00:2::/64"], keys);
    let c = Net::on("br-c", &["10.3.0.0/24", "fd00:3::/64"], json!({ "backend": backend }));
    let attach = |net: &Net, names: [&str; 2]| names.map(|name| net.attach(node, name)).into_iter().collect();
    (attach(&a, ["a1", "a2"]), attach(&b, ["b1", "b2"]), c.attach(node, "c1"))
}

fn same_bridge(backend: &str) {
    let node = Node::new();
    let outside = outside_of(&node);
    let (a, b, open) = fenced(&node, backend, "same-bridge");
    for index in 0..2 {
        assert!(reaches(&a[0].pod, both(&a[1])[index]) && reaches(&b[0].pod, both(&b[1])[index]), "{backend}");
        assert!(cut_off(&a[0].pod, both(&b[0])[index]) && cut_off(&b[1].pod, both(&a[0])[index]), "{backend}");
        assert!(reaches(&a[0].pod, outside_address(index)) && reaches(&outside, both(&a[0])[index]), "{backend}");
        // A bridge without a policy is open, and the others are open to it.
        assert!(reaches(&a[0].pod, both(&open)[index]) && reaches(&open.pod, both(&b[0])[index]), "{backend}");
    }
    for member in a.iter().chain(&b).chain([&open]) {
        member.call.check().success();
    }
    // The fence stands until the bridge's last pod is gone.
    a[1].call.del().success();
    assert!(cut_off(&b[0].pod, a[0].v4()), "{backend}");
    assert_eq!(elements(&node, "inet", "fenced").len(), 2);
    for member in a.iter().chain(&b).chain([&open]) {
        member.call.del().success();
    }
    assert_eq!(all_elements(&node), [json!(null); 0], "{backend}");
}

#[test]
fn same_bridge_keeps_bridges_apart_natively() {
    same_bridge("nftables");
}

#[test]
fn same_bridge_keeps_bridges_apart_with_iptables() {
    same_bridge("iptables");
}

#[test]
fn same_bridge_keeps_bridges_apart_by_default() {
    same_bridge("");
}

fn isolated(backend: &str) {
    let node = Node::new();
    let outside = outside_of(&node);
    let (a, b, open) = fenced(&node, backend, "isolated");
    for index in 0..2 {
        assert!(cut_off(&a[0].pod, both(&a[1])[index]) && cut_off(&b[1].pod, both(&b[0])[index]), "{backend}");
        assert!(cut_off(&a[0].pod, both(&b[0])[index]), "{backend}");
        let gateway = parse(a[0].result["ips"][index]["gateway"].as_str().unwrap_or_default());
        assert!(reaches(&a[0].pod, gateway) && reaches(&node, both(&a[0])[index]), "{backend}");
        assert!(reaches(&a[0].pod, outside_address(index)) && reaches(&outside, both(&a[0])[index]), "{backend}");
        assert!(reaches(&open.pod, both(&b[0])[index]), "{backend}");
    }
    for member in a.iter().chain(&b).chain([&open]) {
        member.call.check().success();
        member.call.del().success();
    }
    assert_eq!(all_elements(&node), [json!(null); 0], "{backend}");
}

#[test]
fn isolated_keeps_pods_apart_natively() {
    isolated("nftables");
}

#[test]
fn isolated_keeps_pods_apart_with_iptables() {
    isolated("iptables");
}

#[test]
fn a_pod_in_a_vlan_is_fenced_by_its_gateways_interface() {
    // No VLAN filtering on this machine: the result of the bridge plugin as it would be.
    let node = Node::new();
    let pod = node.pod("a");
    let net = Net::new(json!({ "ingressPolicy": "isolated" }));
    let result = json!({
        "cniVersion": "1.1.0",
        "interfaces": [
            { "name": "cni0" }, { "name": "veth1" }, { "name": "eth0", "sandbox": "/run/netns/a" }, { "name": "cni0.100" },
        ],
        "ips": [{ "address": "10.1.0.2/24", "interface": 2 }],
    });
    net.call(&node, &pod, &result).add().success();
    let names = |family, set| {
        let mut names: Vec<String> = elements(&node, family, set)
            .iter()
            .map(|e| e["elem"]["val"].as_str().or(e.as_str()).unwrap().to_owned())
            .collect();
        names.sort();
        names
    };
    assert_eq!(names("inet", "fenced"), ["cni0", "cni0.100"]);
    assert_eq!(names("bridge", "isolated"), ["veth1"], "the gateway's port is not cut off");
}
