//! VLAN keys of the bridge plugin against what `bridge -j vlan show` says.

use podlink_tests::scenario::Case;
use podlink_tests::{BinDir, Node, Pod, example};
use serde_json::{Value, json};

/// One configuration and the VLANs it must lead to. To add a case, add a row to [`TABLE`].
struct Vlan {
    name: &'static str,
    /// Whether the reference 1.1.1 knows these keys.
    reference: bool,
    /// Keys added to the bridge's configuration, as JSON.
    keys: &'static str,
    /// VLANs of the pod's host end, as JSON: `P` and `U` stand for the flags `PVID` and `Egress Untagged`.
    port: &'static str,
    /// VLANs of the bridge itself, in the same way.
    bridge: &'static str,
}

const TABLE: &[Vlan] = &[
    Vlan { name: "no VLAN key: the default VLAN", reference: true, keys: "{}", port: "1PU", bridge: "1PU" },
    Vlan { name: "vlan: an access port", reference: true, keys: r#"{"vlan": 100}"#, port: "1U 100PU", bridge: "1PU" },
    Vlan {
        name: "vlan without the default VLAN",
        reference: false,
        keys: r#"{"vlan": 100, "preserveDefaultVlan": false}"#,
        port: "100PU",
        bridge: "1PU",
    },
    Vlan {
        name: "vlanTrunk: tagged single VLANs and ranges",
        reference: false,
        keys: r#"{"vlanTrunk": [{"id": 101}, {"minID": 200, "maxID": 202}]}"#,
        port: "1PU 101 200 201 202",
        bridge: "1PU",
    },
    Vlan {
        name: "vlanTrunk without the default VLAN",
        reference: false,
        keys: r#"{"vlanTrunk": [{"id": 101}], "preserveDefaultVlan": false}"#,
        port: "101",
        bridge: "1PU",
    },
];

/// Every case, or those the reference can pass.
pub fn cases(reference_only: bool) -> Vec<Case> {
    let rows = TABLE.iter().filter(|row| row.reference || !reference_only);
    let mut cases: Vec<Case> =
        rows.map(|row| Case { name: row.name.to_owned(), body: Box::new(|bins| row.check(bins)) }).collect();
    cases.push(case("pods of one VLAN reach each other, pods of another do not", isolation));
    if !reference_only {
        cases.push(case("the example conf-examples/40-vlan.conflist", |bins| {
            let addresses: [&[&str]; 2] = [&["10.246.100.2/24"], &["10.246.100.3/24"]];
            example::works(bins, "40-vlan.conflist", addresses, Some("cni-vlan0.100"));
        }));
    }
    cases.push(case("vlan with isGateway: the gateway is in the VLAN", gateway));
    cases
}

fn case(name: &str, body: fn(&BinDir)) -> Case {
    Case { name: name.to_owned(), body: Box::new(body) }
}

impl Vlan {
    fn check(&self, bins: &BinDir) {
        let node = Node::new();
        let pod = node.pod("a");
        let keys: Value = serde_json::from_str(self.keys).unwrap_or_else(|e| panic!("{}: keys: {e}", self.name));
        let port = add(&node, &pod, bins, &keys);
        assert_eq!(node.vlans(&port), flags(self.port), "VLANs of the pod's host end {port}");
        assert_eq!(node.vlans("br0"), flags(self.bridge), "VLANs of the bridge br0");
    }
}

fn isolation(bins: &BinDir) {
    let node = Node::new();
    let pods = [("a", 100), ("b", 100), ("c", 200)].map(|(name, vlan)| {
        let pod = node.pod(name);
        add(&node, &pod, bins, &json!({ "vlan": vlan }));
        pod
    });
    let [a, b, c] = &pods;
    let ip = |pod: &Pod| pod.addresses("eth0")[0].split('/').next().unwrap_or_default().to_owned();
    a.sh(&["ping", "-n", "-c", "1", "-W", "5", &ip(b)]);
    let mut ping = std::process::Command::new("ping");
    let refused = a.finish(ping.args(["-n", "-c", "1", "-W", "1", &ip(c)]), b"");
    assert!(refused.code == Some(1), "a pod reached another VLAN: {refused}");
}

fn gateway(bins: &BinDir) {
    let node = Node::new();
    let [a, b] = ["a", "b"].map(|name| {
        let pod = node.pod(name);
        add(&node, &pod, bins, &json!({ "vlan": 100, "isGateway": true }));
        pod
    });
    assert_eq!(node.vlans("br0"), flags("1PU"), "VLANs of the bridge br0");
    assert_eq!(node.addresses("br0"), [""; 0], "addresses of the bridge br0");
    assert_eq!(node.addresses("br0.100"), ["10.9.0.1/24"], "addresses of the gateway's device");
    for pod in [&a, &b] {
        pod.sh(&["ping", "-n", "-c", "1", "-W", "5", "10.9.0.1"]);
    }
}

/// Attaches the pod to br0 with these keys and returns the name of its host end.
fn add(node: &Node, pod: &Pod, bins: &BinDir, keys: &Value) -> String {
    let mut config = json!({
        "cniVersion": "1.0.0", "name": "net", "type": "bridge", "bridge": "br0",
        "ipam": { "type": "host-local", "subnet": "10.9.0.0/24", "dataDir": node.dir() },
    });
    for (key, value) in keys.as_object().into_iter().flatten() {
        config[key] = value.clone();
    }
    let result = node.plugin(bins, "bridge").pod(pod).config(&config).add().success();
    result["interfaces"][1]["name"].as_str().unwrap_or_else(|| panic!("no host end in {result}")).to_owned()
}

/// `"1U 100PU"` as `bridge -j vlan show` prints it.
fn flags(short: &str) -> Value {
    let vlan = |word: &str| {
        let id: u16 = word.trim_end_matches(['P', 'U']).parse().unwrap_or_else(|e| panic!("VLAN {word:?}: {e}"));
        let named = [('P', "PVID"), ('U', "Egress Untagged")];
        let flags: Vec<&str> = named.into_iter().filter(|(f, _)| word.contains(*f)).map(|(_, name)| name).collect();
        if flags.is_empty() { json!({ "vlan": id }) } else { json!({ "vlan": id, "flags": flags }) }
    };
    short.split_whitespace().map(vlan).collect()
}
