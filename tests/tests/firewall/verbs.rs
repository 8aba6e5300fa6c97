//! ADD, DEL, GC and bad input: nothing is doubled, and what is removed needs no more than its owner.

use podlink_tests::{Node, conf};
use serde_json::json;

use crate::{BACKENDS, Net, all_elements, elements};

#[test]
fn add_twice_is_add_once_and_del_twice_is_del_once() {
    for backend in BACKENDS {
        for policy in ["open", "isolated"] {
            let node = Node::new();
            let member = Net::new(json!({ "backend": backend, "ingressPolicy": policy })).attach(&node, "a");
            let rules = || {
                ["iptables-save", "ip6tables-save", "nft"].map(|tool| match tool {
                    "nft" => node.sh(&["nft", "-s", "list", "ruleset", "inet"]),
                    save => without_counts(&node.sh(&[save, "-t", "filter"])),
                })
            };
            let once = rules();
            member.call.add().success();
            assert_eq!(rules(), once, "{backend} {policy}");
            member.call.check().success();
            member.call.del().success();
            let gone = rules();
            member.call.del().success();
            assert_eq!(rules(), gone, "{backend} {policy}");
            assert_eq!(all_elements(&node), [json!(null); 0]);
            let text = gone.concat();
            assert!(!text.contains(&member.v4().to_string()) && !text.contains(&member.v6().to_string()), "{text}");
            assert!(member.call.check().failure().text.contains("has changed"));
        }
    }
}

/// The output of `iptables-save` but for its comments and counters.
fn without_counts(saved: &str) -> String {
    let lines = saved.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.split(" [").next().unwrap_or_default().to_owned() + "\n").collect()
}

#[test]
fn del_needs_neither_result_nor_namespace_nor_a_sane_config() {
    for backend in BACKENDS {
        let node = Node::new();
        let member = Net::new(json!({ "backend": backend, "ingressPolicy": "same-bridge" })).attach(&node, "a");
        let other = Net::new(json!({ "backend": backend, "ingressPolicy": "same-bridge" })).attach(&node, "b");
        let (v4, id) = (member.v4().to_string(), member.pod.destroy());
        let config = json!({ "cniVersion": "1.1.0", "name": "net-cni0", "type": "firewall", "backend": "gone" });
        node.typed(&config).pod(&id).without("CNI_NETNS").del().success();
        let saved = node.sh(&["iptables-save", "-t", "filter"]);
        assert!(!saved.contains(&format!("{v4}/32")), "{backend}: {saved}");
        assert_eq!((elements(&node, "inet", "pods4").len(), elements(&node, "inet", "pods6").len()), (1, 1));
        other.call.check().success();
    }
}

#[test]
fn gc_removes_what_no_valid_attachment_of_the_network_owns() {
    for backend in BACKENDS {
        let node = Node::new();
        let keys = json!({ "backend": backend, "ingressPolicy": "same-bridge" });
        let net = Net::new(keys.clone());
        let [kept, lost] = ["a", "b"].map(|name| net.attach(&node, name));
        let elsewhere = Net::on("br9", &["10.9.0.0/24", "fd00:9::/64"], keys).attach(&node, "c");
        let valid = json!([{ "containerID": "pod-a", "ifname": "eth0" }]);
        let config = conf::with(net.firewall.clone(), json!({ "cni.dev/valid-attachments": valid }));
        for _ in 0..2 {
            node.typed(&config).run("GC").success();
        }
        kept.call.check().success();
        elsewhere.call.check().success();
        assert!(lost.call.check().failure().text.contains(&lost.v4().to_string()));
        assert!(!node.sh(&["iptables-save", "-t", "filter"]).contains(&format!("{}/32", lost.v4())), "{backend}");
        assert_eq!(elements(&node, "inet", "fenced").len(), 2);
        // With no valid attachment left, the bridge's fence goes too; that in iptables when the bridge itself is gone.
        let config = conf::with(net.firewall.clone(), json!({ "cni.dev/valid-attachments": [] }));
        node.sh(&["ip", "link", "del", "cni0"]);
        node.typed(&config).run("GC").success();
        assert!(!node.sh(&["iptables-save", "-t", "filter"]).contains("cni0"), "{backend}");
        assert_eq!((elements(&node, "inet", "pods4").len(), elements(&node, "inet", "fenced").len()), (1, 1));
    }
}

#[test]
fn an_address_belongs_to_the_pod_that_got_it_last() {
    for backend in BACKENDS {
        let node = Node::new();
        let net = Net::new(json!({ "backend": backend, "ingressPolicy": "same-bridge" }));
        let first = net.attach(&node, "a");
        // The first pod is deleted only after its address was given to another.
        let heir = node.pod("b");
        let heir = net.call(&node, &heir, &first.result);
        heir.add().success();
        first.call.del().success();
        heir.check().success();
        heir.del().success();
        assert_eq!(all_elements(&node), [json!(null); 0]);
        assert!(!node.sh(&["iptables-save", "-t", "filter"]).contains(&first.v4().to_string()), "{backend}");
    }
}

#[test]
fn every_version_of_the_specification() {
    for version in ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"] {
        let node = Node::new();
        let net = Net::new(json!({}));
        let bridge = conf::with(net.bridge.clone(), json!({ "cniVersion": version }));
        let pod = node.pod("a");
        let result = node.typed(&bridge).pod(&pod).add().success();
        let config = conf::with(net.firewall.clone(), json!({ "cniVersion": version }));
        let call = node.typed(&config).pod(&pod).prev_result(&result);
        assert_eq!(call.add().success(), result, "{version}");
        assert_eq!(
            (elements(&node, "inet", "pods4").len(), elements(&node, "inet", "pods6").len()),
            (1, 1),
            "{version}"
        );
        if version >= "0.4.0" {
            call.check().success();
        }
        if version >= "1.1.0" {
            node.typed(&config).run("STATUS").success();
        }
        call.del().success();
        assert_eq!(all_elements(&node), [json!(null); 0], "{version}");
    }
}

#[test]
fn bad_input_names_the_key_and_changes_nothing() {
    let node = Node::new();
    let net = Net::new(json!({}));
    let pod = node.pod("a");
    let result = net.wire(&node, &pod);
    let without_node_end = json!({ "cniVersion": "1.1.0", "ips": [{ "address": "10.1.0.2/24" }] });
    let long = "n".repeat(240);
    for (keys, result, key) in [
        (json!({ "backend": "ipfw" }), Some(&result), "backend"),
        (json!({ "backend": "firewalld" }), Some(&result), "firewalld"),
        (json!({ "ingressPolicy": "closed" }), Some(&result), "ingressPolicy"),
        (json!({ "ingressPolicy": "same-bridge" }), Some(&without_node_end), "ingressPolicy"),
        (json!({ "iptablesAdminChainName": "a b" }), Some(&result), "iptablesAdminChainName"),
        (json!({}), None, "prevResult"),
        (json!({ "name": long }), Some(&result), "too long"),
    ] {
        let call = node.typed(&conf::with(net.firewall.clone(), keys.clone())).pod(&pod);
        let call = result.map_or(call.clone(), |result| call.clone().prev_result(result));
        let error = call.add().failure();
        assert!(error.text.contains(key), "{keys}: {}", error.text);
        assert_eq!(all_elements(&node), [json!(null); 0], "{keys}");
        assert_eq!(node.sh(&["nft", "list", "tables"]), "", "{keys}");
        call.del().success();
    }
    for (keys, key) in [(json!({ "backend": "ipfw" }), "backend"), (json!({ "backend": "firewalld" }), "firewalld")] {
        let error = node.typed(&conf::with(net.firewall.clone(), keys)).run("STATUS").failure();
        assert!(error.code == 50 && error.text.contains(key), "{error:?}");
    }
}

#[test]
fn a_result_without_addresses_is_passed_on() {
    let node = Node::new();
    let pod = node.pod("a");
    let result = json!({ "cniVersion": "1.1.0", "interfaces": [{ "name": "cni0" }], "dns": {} });
    let net = Net::new(json!({}));
    assert_eq!(net.call(&node, &pod, &result).add().success(), result);
    assert_eq!(node.sh(&["nft", "list", "tables"]), "");
}
