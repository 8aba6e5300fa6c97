//! The same configuration on ours and on the Go reference: the same answers, the same kernel state, the same files.

use podlink_tests::compare::Labels;
use podlink_tests::{BinDir, Node, conf, files};
use serde_json::{Value, json};

const V4: &str = "10.22.0.0/24";
const V6: &str = "fd22::/64";

/// A gateway's config in a version that the reference knows.
fn gateway(subnets: &[&str], keys: Value) -> Value {
    conf::with(conf::gateway(subnets, json!({ "cniVersion": "1.0.0" })), keys)
}

/// The same with keys of its `ipam` section.
fn with_ipam(ipam: Value) -> Value {
    let mut config = gateway(&[V4], json!({}));
    config["ipam"] = conf::with(config["ipam"].clone(), ipam);
    config
}

#[test]
fn addresses_and_routes() {
    for config in [
        gateway(&[V4], json!({})),
        gateway(&[V4], json!({ "isDefaultGateway": true })),
        with_ipam(json!({ "ranges": [[
            { "subnet": V4, "rangeStart": "10.22.0.7", "rangeEnd": "10.22.0.9", "gateway": "10.22.0.254" },
            { "subnet": "10.23.0.0/24" },
        ]] })),
        with_ipam(json!({ "ranges": [], "subnet": V4, "rangeStart": "10.22.0.20" })),
        with_ipam(json!({ "routes": [{ "dst": "0.0.0.0/0" }, { "dst": "192.168.0.0/16", "gw": "10.22.0.9" }] })),
    ] {
        same(Labels::default, &config, "");
    }
}

#[test]
fn ipv6() {
    same(Labels::default, &gateway(&[V6], json!({})), "");
    same(Labels::default, &gateway(&[V4, V6], json!({ "isDefaultGateway": true })), "");
}

#[test]
fn keys_of_links() {
    for keys in [
        json!({ "hairpinMode": true }),
        json!({ "promiscMode": true }),
        json!({ "mtu": 1400 }),
        json!({ "bridge": "br-x" }),
        json!({ "runtimeConfig": { "mac": "02:00:00:00:00:07" } }),
        json!({ "args": { "cni": { "mac": "02:00:00:00:00:08" } } }),
    ] {
        same(Labels::default, &gateway(&[V4], keys), "");
    }
}

#[test]
fn arguments() {
    let config = gateway(&[V4], json!({}));
    for args in ["IgnoreUnknown=1;K8S_POD_NAME=x;IP=10.22.0.77", "IgnoreUnknown=1;MAC=02:00:00:00:00:09"] {
        same(Labels::default, &config, args);
    }
    for keys in [
        json!({ "args": { "cni": { "ips": ["10.22.0.79/24"] } } }),
        json!({ "runtimeConfig": { "ips": ["10.22.0.80"] } }),
        json!({ "runtimeConfig": { "ipRanges": [[{ "subnet": "10.24.0.0/24" }]] }, "ipam": { "type": "host-local" } }),
    ] {
        same(Labels::default, &gateway(&[V4], keys), "");
    }
}

#[test]
fn dns() {
    let own = json!({ "dns": { "nameservers": ["10.0.0.10"], "domain": "example", "search": ["a", "b"] } });
    same(Labels::default, &gateway(&[V4], own), "");
    // Not `resolvConf`: 1.1.1 loses what IPAM read from it, which later versions and ours keep.
}

#[test]
fn every_version() {
    for version in ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0"] {
        same(Labels::default, &gateway(&[V4], json!({ "cniVersion": version, "isDefaultGateway": true })), "");
    }
}

#[test]
fn a_bridge_without_addresses() {
    // Without an address to set, the reference lets the bridge take its lowest port's MAC. Ours stays put.
    let labels = || Labels::with_any_mac_of("cni0");
    same(labels, &conf::bridge(json!({ "cniVersion": "0.4.0" })), "");
    // Without isGateway, because the reference refuses a second IPv4 subnet on a bridge even when it is its own.
    same(labels, &gateway(&[V4, "10.23.0.0/24"], json!({ "isGateway": false })), "");
}

#[test]
fn loopback() {
    // Not the versions before 1.0.0: the reference leaves out `ips[].version`, which they require.
    same(Labels::default, &json!({ "cniVersion": "1.0.0", "name": "lo", "type": "loopback" }), "");
}

/// Panics at the first step of ADD, CHECK, DEL and a second DEL after which the two implementations differ.
#[track_caller]
fn same(labels: impl Fn() -> Labels, config: &Value, args: &str) {
    let ours = story(labels(), config, args, &BinDir::ours());
    let reference = story(labels(), config, args, &BinDir::reference());
    assert_eq!(ours.len(), reference.len());
    for ((step, ours), (_, reference)) in ours.iter().zip(&reference) {
        let text = |v: &Value| serde_json::to_string_pretty(v).unwrap_or_default();
        assert!(
            ours == reference,
            "{step}: ours differs from the reference\nconfig: {config} {args}\nours: {}\nreference: {}",
            text(ours),
            text(reference)
        );
    }
}

/// The life of one attachment: what was answered and what was there after each step, comparable.
fn story(mut labels: Labels, config: &Value, args: &str, bins: &BinDir) -> Vec<(&'static str, Value)> {
    let node = Node::new();
    let pod = node.pod("a");
    let data = node.outside("/var/lib/cni/networks/net");
    let plugin = config["type"].as_str().unwrap_or_default();
    let call = node.plugin(bins, plugin).pod(&pod).config(config).args(args);
    let result = call.add().success();
    let mut steps = vec![("result of ADD", labels.result(&result))];
    let mut look = |steps: &mut Vec<_>, names: [&'static str; 3]| {
        steps.push((names[0], labels.kernel(&pod)));
        steps.push((names[1], labels.kernel(&node)));
        steps.push((names[2], json!(files::below(&data))));
    };
    look(&mut steps, ["the pod after ADD", "the node after ADD", "address files after ADD"]);
    let call = call.prev_result(&result);
    let has_check = ["0.4.0", "1.0.0"].iter().any(|version| config["cniVersion"] == *version);
    // The reference's CHECK fails for a bridge without IPAM ("no plugin name provided").
    if has_check && (plugin != "bridge" || config.get("ipam").is_some()) {
        steps.push(("CHECK", call.check().success()));
    }
    steps.push(("DEL", call.del().success()));
    look(&mut steps, ["the pod after DEL", "the node after DEL", "address files after DEL"]);
    steps.push(("a second DEL", call.del().success()));
    steps
}
