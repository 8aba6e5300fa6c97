//! The same configuration on ours and on the Go reference: the same answers, the same kernel state, the same files.

use std::collections::BTreeMap;
use std::path::Path;

use podlink_tests::compare::Labels;
use podlink_tests::{BinDir, Node};
use serde_json::{Value, json};

#[test]
fn a_gateway_bridge_with_host_local_addresses() {
    same(
        Labels::default,
        &json!({
            "cniVersion": "1.0.0", "name": "net", "type": "bridge", "bridge": "cni0", "isGateway": true,
            "ipam": {
                "type": "host-local",
                "ranges": [[{ "subnet": "10.22.0.0/24" }]],
                "routes": [{ "dst": "0.0.0.0/0" }],
            },
        }),
    );
}

#[test]
fn a_bridge_without_addresses() {
    // Without an address to set, the reference lets the bridge take its lowest port's MAC. Ours stays put.
    let labels = || Labels::with_any_mac_of("cni0");
    same(labels, &json!({ "cniVersion": "0.4.0", "name": "net", "type": "bridge", "bridge": "cni0" }));
}

/// Panics at the first step of ADD, CHECK, DEL and a second DEL after which the two implementations differ.
fn same(labels: impl Fn() -> Labels, config: &Value) {
    let ours = story(labels(), config, &BinDir::ours());
    let reference = story(labels(), config, &BinDir::reference());
    assert_eq!(ours.len(), reference.len());
    for ((step, ours), (_, reference)) in ours.iter().zip(&reference) {
        let text = |v: &Value| serde_json::to_string_pretty(v).unwrap_or_default();
        assert!(
            ours == reference,
            "{step}: ours differs from the reference\nours: {}\nreference: {}",
            text(ours),
            text(reference)
        );
    }
}

/// The life of one attachment: what was answered and what was there after each step, comparable.
fn story(mut labels: Labels, config: &Value, bins: &BinDir) -> Vec<(&'static str, Value)> {
    let node = Node::new();
    let pod = node.pod("a");
    let data = node.outside("/var/lib/cni/networks/net");
    let call = node.plugin(bins, "bridge").pod(&pod).config(config);
    let result = call.add().success();
    let mut steps = vec![("result of ADD", labels.result(&result))];
    steps.push(("the pod after ADD", labels.kernel(&pod)));
    steps.push(("the node after ADD", labels.kernel(&node)));
    steps.push(("address files after ADD", files(&data)));
    let call = call.prev_result(&result);
    // The reference's CHECK fails for a bridge without IPAM ("no plugin name provided").
    if config.get("ipam").is_some() {
        steps.push(("CHECK", call.check().success()));
    }
    steps.push(("DEL", call.del().success()));
    steps.push(("the pod after DEL", labels.kernel(&pod)));
    steps.push(("the node after DEL", labels.kernel(&node)));
    steps.push(("address files after DEL", files(&data)));
    steps.push(("a second DEL", call.del().success()));
    steps
}

/// Name and content of each file of an address store; empty when there is no store.
fn files(dir: &Path) -> Value {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let content = |path: &Path| String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned();
    let files: BTreeMap<String, String> =
        entries.map(|e| (e.file_name().to_string_lossy().into_owned(), content(&e.path()))).collect();
    json!(files)
}
