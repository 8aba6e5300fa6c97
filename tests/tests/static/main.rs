//! The static IPAM plugin, alone, beneath bridge, and beside the reference.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use podlink_tests::compare::Labels;
use podlink_tests::conf::{bridge, with};
use podlink_tests::{Attached, BinDir, Node};
use serde_json::{Value, json};

/// The network `net` with two addresses, routes and DNS settings, with `keys` added.
fn config(keys: Value) -> Value {
    let ipam = json!({
        "type": "static",
        "addresses": [{ "address": "10.41.0.2/24", "gateway": "10.41.0.1" }, { "address": "fd41::2/64" }],
        "routes": [{ "dst": "0.0.0.0/0" }, { "dst": "10.99.0.0/16", "gw": "10.41.0.9" }],
        "dns": { "nameservers": ["10.0.0.10"], "domain": "d", "search": ["a"], "options": ["ndots:5"] },
    });
    with(bridge(json!({ "ipam": ipam })), keys)
}

#[test]
fn the_same_as_the_reference() {
    let one_each = ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0"];
    let cases = [
        (json!({}), ""),
        (json!({}), "IP=10.42.0.2/24,10.43.0.2/24;GATEWAY=10.42.0.1,10.99.0.1,fd41::9"),
        (json!({ "args": { "cni": { "ips": ["10.44.0.2/24", "fd44::2/64"] } } }), "IP=10.42.0.2/24"),
        (json!({ "runtimeConfig": { "ips": ["10.45.0.2/24"] }, "args": { "cni": { "ips": ["10.44.0.2/24"] } } }), ""),
        (json!({ "ipam": { "type": "static" } }), ""),
    ];
    let versions = one_each.map(|version| (json!({ "cniVersion": version }), ""));
    for (keys, args) in versions.into_iter().chain(cases) {
        let config = config(with(json!({ "cniVersion": "1.0.0" }), keys));
        let [ours, reference] = [BinDir::ours(), BinDir::reference()].map(|bins| {
            let node = Node::new();
            let pod = node.pod("a");
            let call = node.plugin(&bins, "static").pod(&pod).config(&config).args(args);
            let result = call.add().success();
            // The reference's result of one without addresses lacks what its own CHECK wants.
            if config["cniVersion"] == "1.0.0" && result.get("ips").is_some() {
                call.clone().prev_result(&result).check().success();
            }
            call.del().success();
            Labels::default().result(&result)
        });
        assert_eq!(ours, reference, "{config} {args}");
    }
    let old = config(json!({ "cniVersion": "0.2.0" }));
    for bins in [BinDir::ours(), BinDir::reference()] {
        let node = Node::new();
        let pod = node.pod("a");
        let error = node.plugin(&bins, "static").pod(&pod).config(&old).args("IP=10.42.0.2/24").add().failure();
        assert!(error.text.contains("0.2.0 does not support more than 1 address per family"), "{error:?}");
    }
}

#[test]
fn beneath_bridge_in_one_process_and_in_two() {
    for one in [true, false] {
        let node = Node::new();
        let bins = if one { suite(&node) } else { BinDir::ours() };
        let pod = node.pod("a");
        let call = node.plugin(&bins, "bridge").pod(&pod).config(&config(json!({ "isGateway": true })));
        let result = call.add().success();
        assert_eq!(pod.addresses("eth0"), ["10.41.0.2/24", "fd41::2/64"], "{one}");
        assert_eq!(node.addresses("cni0"), ["10.41.0.1/24", "fd41::1/64"], "{one}");
        assert_eq!(result["dns"]["options"], json!(["ndots:5"]));
        pod.ping("10.41.0.1".parse().unwrap());
        let call = call.prev_result(&result);
        call.check().success();
        call.del().success();
        call.del().success();
        assert_eq!(node.link_names(), ["cni0"]);
    }
}

/// A directory on the node in which both are names of one file.
fn suite(node: &Node) -> BinDir {
    BinDir::of_one_program(node, &["bridge", "static"])
}

#[test]
fn check_finds_a_config_that_has_changed() {
    let at = Attached::to(&config(json!({ "isGateway": true })));
    for (address, words) in [
        (json!({ "address": "10.41.0.3/24" }), &["10.41.0.3/24", "not in prevResult"][..]),
        (json!({ "address": "10.41.0.2/24", "gateway": "10.41.0.7" }), &["10.41.0.7", "10.41.0.1"]),
    ] {
        let mut config = at.config.clone();
        config["ipam"]["addresses"] = json!([address]);
        let error = at.typed(&config).pod(&at.pod).prev_result(&at.result).check().failure();
        words.iter().for_each(|word| assert!(error.text.contains(word), "{word}: {error:?}"));
    }
    assert_eq!(at.plugin(&BinDir::ours(), "static").pod(&at.pod).config(&at.config).check().failure().code, 7);
}

#[test]
fn del_and_gc_need_nothing_and_status_reads_the_config() {
    let node = Node::new();
    let pod = node.pod("a");
    let invalid = config(json!({ "ipam": { "type": "static", "addresses": "none" } }));
    let call = |config: &Value| node.plugin(&BinDir::ours(), "static").pod(&pod).config(config);
    call(&invalid).del().success();
    call(&with(invalid.clone(), json!({ "cni.dev/valid-attachments": [] }))).run("GC").success();
    assert_eq!(call(&invalid).run("STATUS").failure().code, 50);
    call(&config(json!({}))).run("STATUS").success();
}
