//! Situations on real nodes that a first draft got wrong.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use podlink_tests::conf::{bridge, gateway, with};
use podlink_tests::{BinDir, Node};
use serde_json::json;

#[test]
fn a_pod_with_ipv6_off_gets_it_on_and_reaches_itself() {
    let node = Node::new();
    // A hardened node, and a pod that a runtime made with IPv6 off.
    node.run(|| std::fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1")).unwrap();
    let pod = node.pod("a");
    for interface in ["all", "default"] {
        let file = format!("/proc/sys/net/ipv6/conf/{interface}/disable_ipv6");
        pod.run(|| std::fs::write(file, "1")).unwrap();
    }
    node.typed(&json!({ "cniVersion": "1.0.0", "name": "lo", "type": "loopback" })).pod(&pod).add().success();
    node.typed(&gateway(&["fd07::/64"], json!({}))).pod(&pod).add().success();
    pod.ping("fd07::2".parse().unwrap());
    pod.ping("fd07::1".parse().unwrap());
    for state in ["down", "up"] {
        pod.sh(&["ip", "link", "set", "eth0", state]);
    }
    assert_eq!(pod.addresses("eth0"), ["fd07::2/64"]);
}

#[test]
fn the_del_after_an_add_that_was_refused_leaves_the_interface_that_was_there() {
    let node = Node::new();
    let pod = node.pod("a");
    let other = with(bridge(json!({})), json!({ "name": "other", "bridge": "other0" }));
    node.plugin(&BinDir::reference(), "bridge")
        .config(&with(other, json!({ "cniVersion": "1.0.0" })))
        .pod(&pod)
        .add()
        .success();
    let call = node.typed(&gateway(&["10.7.0.0/24"], json!({}))).pod(&pod);
    call.add().failure();
    call.del().success();
    assert_eq!(pod.link_names(), ["eth0"]);
    assert_eq!(node.reserved("net"), [""; 0]);
}

#[test]
fn two_routes_to_one_destination_are_both_there() {
    let node = Node::new();
    let pod = node.pod("a");
    let mut config = gateway(&["10.7.0.0/24"], json!({}));
    config["ipam"]["routes"] =
        json!([{ "dst": "10.99.0.0/16", "gw": "10.7.0.1" }, { "dst": "10.99.0.0/16", "gw": "10.7.0.9" }]);
    let call = node.typed(&config).pod(&pod);
    let result = call.add().success();
    assert_eq!(pod.routes().iter().filter(|route| route["dst"] == "10.99.0.0/16").count(), 2);
    call.prev_result(&result).check().success();
}

#[test]
fn keys_may_be_written_in_any_case_as_for_go() {
    let node = Node::new();
    let pod = node.pod("a");
    let config = json!({
        "cniversion": "1.0.0", "Name": "net", "type": "bridge", "BRIDGE": "any0", "isgateway": true,
        "IPAM": { "Type": "host-local", "Subnet": "10.7.0.0/24", "datadir": "/var/lib/elsewhere" },
    });
    node.typed(&config).pod(&pod).add().success();
    assert_eq!(node.addresses("any0"), ["10.7.0.1/24"]);
    assert!(node.outside("/var/lib/elsewhere/net/10.7.0.2").exists());
}

#[test]
fn names_that_the_kernel_would_make_something_else_of_are_refused() {
    let node = Node::new();
    let pod = node.pod("a");
    for name in ["br%d", "all", "default"] {
        let error = node.typed(&bridge(json!({ "bridge": name }))).pod(&pod).add().failure();
        assert_eq!(error.code, 7, "{}", error.text);
        let error = node.typed(&bridge(json!({}))).pod(&pod).ifname(name).add().failure();
        assert_eq!(error.code, 7, "{}", error.text);
    }
    assert_eq!((node.link_names(), pod.link_names()), (vec![], vec![]));
}

#[test]
fn names_of_any_length_are_told_apart_and_removed() {
    let node = Node::new();
    let pod = node.pod("a");
    let config = gateway(&["10.7.0.0/24"], json!({ "name": "n".repeat(120), "ipMasq": true, "macspoofchk": true }));
    let call = node.typed(&config).pod(&pod).env("CNI_CONTAINERID", "c".repeat(140));
    call.add().success();
    assert!(node.sh(&["nft", "list", "ruleset"]).contains("10.7.0.2"));
    call.del().success();
    assert!(!node.sh(&["nft", "list", "ruleset"]).contains("10.7.0.2"));
}

#[test]
fn a_link_local_gateway_goes_beside_the_bridges_own_link_local_address() {
    let node = Node::new();
    let config = gateway(
        &[],
        json!({ "ipam": { "type": "host-local", "ranges": [[
        { "subnet": "fd07::/64", "gateway": "fe80::1" }]] } }),
    );
    for name in ["a", "b"] {
        let pod = node.pod(name);
        node.typed(&config).pod(&pod).add().success();
    }
}

#[test]
fn each_interface_of_a_pod_has_its_own_iptables_rules() {
    let node = Node::new();
    let pod = node.pod("a");
    let config = gateway(&["10.7.0.0/24"], json!({ "ipMasq": true, "ipMasqBackend": "iptables" }));
    let first = node.typed(&config).pod(&pod);
    let second = node.typed(&config).pod(&pod).ifname("net1");
    first.add().success();
    let result = second.add().success();
    let jumps = || node.sh(&["iptables-save", "-t", "nat"]).matches("-A POSTROUTING -s 10.7.0.").count();
    assert_eq!(jumps(), 2);
    second.prev_result(&result).del().success();
    assert_eq!(jumps(), 1);
    first.del().success();
    assert!(!node.sh(&["iptables-save", "-t", "nat"]).contains("CNI-"));
}

#[test]
fn dels_of_one_attachment_at_once_all_succeed_with_iptables() {
    let node = Node::new();
    let pod = node.pod("a");
    let config = gateway(&["10.7.0.0/24"], json!({ "ipMasq": true, "ipMasqBackend": "iptables" }));
    for _ in 0..4 {
        let call = node.typed(&config).pod(&pod);
        call.add().success();
        std::thread::scope(|scope| (0..3).for_each(|_| _ = scope.spawn(|| call.del().success())));
    }
    assert!(!node.sh(&["iptables-save", "-t", "nat"]).contains("CNI-"));
}

#[test]
fn gc_removes_iptables_chains_of_the_dead() {
    let node = Node::new();
    let config = gateway(&["10.7.0.0/24"], json!({ "ipMasq": true, "ipMasqBackend": "iptables" }));
    let pods = ["a", "b"].map(|name| node.pod(name));
    pods.iter().for_each(|pod| _ = node.typed(&config).pod(pod).add().success());
    let mut gc = config.clone();
    gc["cni.dev/valid-attachments"] = json!([{ "containerID": "pod-b", "ifname": "eth0" }]);
    node.typed(&gc).run("GC").success();
    let saved = node.sh(&["iptables-save", "-t", "nat"]);
    assert!(!saved.contains("pod-a") && saved.contains("pod-b"), "{saved}");
}
