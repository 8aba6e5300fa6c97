//! The same configuration on ours and on the Go reference: the same answers, the same kernel state, the same files.

use podlink_tests::compare::Labels;
use podlink_tests::{BinDir, Node, conf, files};
use serde_json::{Value, json};

use crate::ptp;

#[test]
fn the_same_as_the_reference() {
    let v4 = json!({ "ipam": conf::host_local(&["10.31.0.0/24"]) });
    for keys in [
        json!({}),
        v4.clone(),
        json!({ "mtu": 1400 }),
        json!({ "dns": { "nameservers": ["10.0.0.10"], "search": ["a"] } }),
        json!({ "ipam": conf::host_local(&["fd31::/64"]) }),
        json!({ "ipam": {
            "type": "host-local", "subnet": "10.31.0.0/24", "gateway": "10.31.0.254",
            "routes": [{ "dst": "0.0.0.0/0" }, { "dst": "192.168.0.0/16", "gw": "10.31.0.254" }],
        } }),
        json!({ "ipam": {
            "type": "static", "addresses": [{ "address": "10.31.0.9/24", "gateway": "10.31.0.1" }],
            "routes": [{ "dst": "0.0.0.0/0" }], "dns": { "domain": "d" },
        } }),
    ] {
        same(&ptp(conf::with(json!({ "cniVersion": "1.0.0" }), keys)));
    }
    for version in ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0"] {
        same(&ptp(conf::with(v4.clone(), json!({ "cniVersion": version }))));
    }
}

#[track_caller]
fn same(config: &Value) {
    let [ours, reference] = [BinDir::ours(), BinDir::reference()].map(|bins| story(config, &bins));
    for ((step, ours), (_, reference)) in ours.iter().zip(&reference) {
        assert!(ours == reference, "{step}\nconfig: {config}\nours: {ours:#}\nreference: {reference:#}");
    }
    assert_eq!(ours.len(), reference.len());
}

/// The life of one attachment: what was answered and what was there after each step, comparable.
fn story(config: &Value, bins: &BinDir) -> Vec<(&'static str, Value)> {
    let mut labels = Labels::default();
    let node = Node::new();
    let pod = node.pod("a");
    // The reference checks its own addresses for duplicates, and takes seconds for it.
    for place in [&*node, &*pod] {
        place.sh(&["busybox", "sysctl", "-w", "net.ipv6.conf.default.accept_dad=0"]);
    }
    let call = node.plugin(bins, "ptp").pod(&pod).config(config);
    let result = call.add().success();
    let mut steps = vec![("result of ADD", labels.result(&result))];
    let mut look = |steps: &mut Vec<_>, names: [&'static str; 3]| {
        steps.push((names[0], sorted(labels.kernel(&pod))));
        steps.push((names[1], sorted(labels.kernel(&node))));
        steps.push((names[2], json!(files::below(&node.outside("/var/lib/cni/networks/net")))));
    };
    look(&mut steps, ["the pod after ADD", "the node after ADD", "address files after ADD"]);
    let call = call.prev_result(&result);
    if ["0.4.0", "1.0.0"].iter().any(|version| config["cniVersion"] == *version) {
        steps.push(("CHECK", call.check().success()));
    }
    steps.push(("DEL", call.del().success()));
    look(&mut steps, ["the pod after DEL", "the node after DEL", "address files after DEL"]);
    steps
}

/// Routes in one order: IPv6 lists them as they were added.
fn sorted(mut state: Value) -> Value {
    if let Some(routes) = state["routes"].as_array_mut() {
        routes.sort_by_key(Value::to_string);
    }
    state
}
