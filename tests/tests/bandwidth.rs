//! The bandwidth plugin: the rate a pod really has, and that nothing of it stays.

use std::net::IpAddr;

use podlink_tests::{Attached, BinDir, Call, Namespace, Node, conf};
use serde_json::{Value, json};

const V4: &str = "10.1.0.0/24";
const V6: &str = "fd00:1::/64";
/// The node's addresses on the bridge, and the pod's.
const NODE: &str = "10.1.0.1";
const POD: &str = "10.1.0.2";
const POD_V6: &str = "fd00:1::2";

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
}

fn config(keys: Value) -> Value {
    conf::with(json!({ "cniVersion": "1.1.0", "name": "net", "type": "bandwidth" }), keys)
}

fn attached() -> Attached {
    Attached::to(&conf::gateway(&[V4, V6], json!({})))
}

/// The plugin after the bridge plugin.
fn chained<'a>(at: &'a Attached, keys: Value) -> Call<'a> {
    at.typed(&config(keys)).pod(&at.pod).prev_result(&at.result)
}

fn ifbs(node: &Namespace) -> Vec<String> {
    let links = node.links();
    let ifbs = links.iter().filter(|link| link["linkinfo"]["info_kind"] == "ifb");
    ifbs.filter_map(|link| link["ifname"].as_str().map(str::to_owned)).collect()
}

/// What the plugin could change on the node.
fn shape(at: &Attached) -> Value {
    let aliases: Vec<Value> = at.links().iter().map(|link| json!([link["ifname"], link["ifalias"]])).collect();
    json!([aliases, at.tc(&["qdisc", "show"]), at.tc(&["filter", "show", "dev", &at.port_name(), "parent", "ffff:"])])
}

/// Payload is 94 to 96 % of what the limit counts; the issue allows 10 %. What else the machine does only takes from it: the best of
/// three counts, and none may be too fast.
#[track_caller]
fn assert_rate(asked: f64, measure: impl Fn() -> f64) {
    let mut measured = Vec::new();
    for _ in 0..3 {
        let ratio = measure() / asked;
        measured.push(ratio);
        assert!(ratio <= 1.10, "asked for {asked:.0} bit/s, measured {measured:.2?} times that");
        if ratio >= 0.90 {
            return;
        }
    }
    panic!("asked for {asked:.0} bit/s, measured {measured:.2?} times that");
}

#[track_caller]
fn assert_unlimited(limit: f64, measure: impl Fn() -> f64) {
    let measured = measure();
    assert!(measured > 5.0 * limit, "there must be no limit of {limit:.0} bit/s, measured {measured:.0}");
}

#[test]
fn both_directions_have_the_rate_asked_for() {
    let at = attached();
    let (down, up) = (20e6, 12e6);
    let result = chained(&at, json!({ "ingressRate": 20_000_000, "egressRate": 12_000_000 })).add().success();
    assert_rate(down, || at.bits_per_second(&at.pod, ip(POD)));
    assert_rate(up, || at.pod.bits_per_second(&at, ip(NODE)));
    assert_rate(down, || at.bits_per_second(&at.pod, ip(POD_V6)));

    let ifb = result["interfaces"][3]["name"].as_str().unwrap_or_default().to_owned();
    for (device, bytes) in [(at.port_name(), 2_500_000), (ifb, 1_500_000)] {
        let (kind, qdisc) = at.root_qdisc(&device);
        assert_eq!((kind.as_str(), &qdisc["options"]["rate"]), ("tbf", &json!(bytes)), "{qdisc}");
        let latency = qdisc["options"]["lat"].as_u64();
        assert!(latency.is_some_and(|us| (24_990..=25_010).contains(&us)), "{qdisc}");
    }
}

#[test]
fn a_burst_and_a_latency_of_ones_own_reach_the_kernel() {
    let at = attached();
    chained(&at, json!({ "ingressRate": 8_000_000, "ingressBurst": 262_144, "latency": 40 })).add().success();
    let (_, qdisc) = at.root_qdisc(&at.port_name());
    assert_eq!((&qdisc["options"]["burst"], &qdisc["options"]["lat"]), (&json!(32_768), &json!(40_000)), "{qdisc}");
    assert!(ifbs(&at).is_empty(), "no egress, no ifb");
}

#[test]
fn pods_share_no_limit() {
    let at = attached();
    let other = at.pod("b");
    let bridged = at.typed(&at.config).pod(&other).add().success();
    chained(&at, json!({ "egressRate": 8_000_000 })).add().success();
    let keys = config(json!({ "egressRate": 24_000_000 }));
    at.typed(&keys).pod(&other).prev_result(&bridged).add().success();
    assert_eq!(ifbs(&at).len(), 2);
    std::thread::scope(|scope| {
        scope.spawn(|| assert_rate(8e6, || at.pod.bits_per_second(&at, ip(NODE))));
        scope.spawn(|| assert_rate(24e6, || other.bits_per_second(&at, ip(NODE))));
    });
}

#[test]
fn listed_subnets_are_exempt_or_alone_limited() {
    let at = attached();
    at.sh(&["ip", "addr", "add", "10.1.0.200/24", "dev", "cni0"]);
    at.sh(&["ip", "addr", "add", "fd00:1::200/64", "dev", "cni0", "nodad"]);
    let exempt = ["10.1.0.192/26", "fd00:1::200/128"];
    let listed = ["10.1.0.200", "fd00:1::200"];
    for (key, listed_limited) in [("unshapedSubnets", false), ("shapedSubnets", true)] {
        let call = chained(&at, json!({ "egressRate": 8_000_000, "ingressRate": 8_000_000, key: exempt }));
        let result = call.add().success();
        for (to, limited) in [(listed[0], listed_limited), (listed[1], listed_limited), (NODE, !listed_limited)] {
            let measure = || at.pod.bits_per_second(&at, ip(to));
            if limited { assert_rate(8e6, measure) } else { assert_unlimited(8e6, measure) }
        }
        // What the pod receives is told apart by where it comes from: the address of the bridge's route is the first.
        let measure = || at.bits_per_second(&at.pod, ip(POD));
        if listed_limited {
            assert_unlimited(8e6, measure)
        } else {
            assert_rate(8e6, measure)
        }
        call.clone().prev_result(&result).check().success();
        call.del().success();
        assert!(ifbs(&at).is_empty());
    }
}

#[test]
fn the_runtime_asks_for_a_limit() {
    let at = attached();
    // containerd sends this burst for the annotation kubernetes.io/ingress-bandwidth.
    let asked = json!({ "ingressRate": 8_000_000, "ingressBurst": 4_294_967_295_u64 });
    chained(&at, json!({ "runtimeConfig": { "bandwidth": asked } })).add().success();
    assert_eq!(at.root_qdisc(&at.port_name()).1["options"]["rate"], 1_000_000);
    assert_rate(8e6, || at.bits_per_second(&at.pod, ip(POD)));
}

#[test]
fn nothing_asked_changes_nothing() {
    let at = attached();
    let before = shape(&at);
    let call = chained(&at, json!({ "runtimeConfig": { "bandwidth": { "ingressRate": 0 } } }));
    assert_eq!(call.add().success(), at.result);
    call.check().success();
    call.del().success();
    assert_eq!(shape(&at), before);
}

#[test]
fn every_version_of_the_specification_works() {
    for version in ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"] {
        let at = Attached::to(&conf::gateway(&[V4], json!({ "cniVersion": version })));
        let call = chained(&at, json!({ "cniVersion": version, "egressRate": 8_000_000, "ingressRate": 8_000_000 }));
        let result = call.add().success();
        let ifb = ifbs(&at);
        assert_eq!((ifb.len(), &result["cniVersion"]), (1, &json!(version)));
        if version > "0.3.0" {
            assert_eq!(result["interfaces"][3]["name"], json!(ifb[0]));
            assert!(result["interfaces"][3]["mac"].is_string());
        }
        if version >= "0.4.0" {
            call.clone().prev_result(&result).check().success();
        }
        call.del().success();
        assert!(ifbs(&at).is_empty());
    }
}

#[test]
fn the_ifb_has_what_the_pair_has() {
    let at = Attached::to(&conf::gateway(&[V4], json!({ "mtu": 1400 })));
    let result = chained(&at, json!({ "egressRate": 8_000_000 })).add().success();
    let ifb = at.link_of_node(&ifbs(&at)[0]);
    assert_eq!((&ifb["mtu"], &ifb["txqlen"]), (&json!(1400), &at.port()["txqlen"]));
    assert_eq!((&ifb["operstate"] != "DOWN", &result["interfaces"][3]["mtu"]), (true, &json!(1400)));
    assert_eq!(ifb["ifalias"], "podlink:net/pod-a/eth0");
}

/// Changes one thing with iproute2.
type Drift = (&'static str, fn(&Attached, &str));

#[test]
fn check_finds_every_drift() {
    fn sh(at: &Attached, line: String) {
        at.sh(&line.split_whitespace().collect::<Vec<_>>());
    }
    let drifts: [Drift; 9] = [
        ("rate", |at, _| {
            let port = at.port_name();
            sh(at, format!("tc qdisc replace dev {port} root handle 1: tbf rate 9mbit burst 65536 latency 25ms"));
        }),
        ("burst", |at, _| {
            let port = at.port_name();
            sh(at, format!("tc qdisc replace dev {port} root handle 1: tbf rate 8mbit burst 131072 latency 25ms"));
        }),
        ("a pfifo qdisc", |at, _| sh(at, format!("tc qdisc replace dev {} root handle 2: pfifo", at.port_name()))),
        ("found", |at, _| sh(at, format!("tc qdisc del dev {} root", at.port_name()))),
        ("rate", |at, ifb| {
            sh(at, format!("tc qdisc replace dev {ifb} root handle 1: tbf rate 9mbit burst 65536 latency 25ms"));
        }),
        ("an ifb device", |at, ifb| sh(at, format!("ip link del {ifb}"))),
        ("down", |at, ifb| sh(at, format!("ip link set {ifb} down"))),
        ("redirect", |at, _| sh(at, format!("tc qdisc del dev {} ingress", at.port_name()))),
        ("no filter", |at, _| sh(at, format!("tc filter del dev {} parent ffff: prio 1", at.port_name()))),
    ];
    for (word, change) in drifts {
        let at = attached();
        let call = chained(&at, json!({ "ingressRate": 8_000_000, "egressRate": 8_000_000 }));
        let result = call.add().success();
        let call = call.prev_result(&result);
        call.check().success();
        change(&at, &ifbs(&at)[0]);
        let error = call.check().failure();
        assert!(error.text.contains(word) && error.text.contains("has changed"), "{word}: {}", error.text);
        call.del().success();
        assert!(ifbs(&at).is_empty(), "after {word}");
    }
}

#[test]
fn check_finds_drift_of_classes_and_filters() {
    let drifts = [
        ("rate", "tc class change dev IFB parent 1: classid 1:30 htb rate 9mbit"),
        ("filters", "tc filter del dev IFB parent 1:"),
        ("filters", "tc filter add dev IFB parent 1: prio 16 protocol ip u32 match ip dst 10.9.0.0/16 classid 1:1"),
        ("htb", "tc class del dev IFB classid 1:30"),
    ];
    for (word, line) in drifts {
        let at = attached();
        let call = chained(&at, json!({ "egressRate": 8_000_000, "unshapedSubnets": ["10.0.0.0/8", "fd00::/8"] }));
        let result = call.add().success();
        let call = call.prev_result(&result);
        call.check().success();
        if line.contains("class del") {
            at.sh(&["tc", "qdisc", "del", "dev", &ifbs(&at)[0], "root"]);
            at.sh(&["tc", "qdisc", "add", "dev", &ifbs(&at)[0], "root", "handle", "1:", "htb", "default", "30"]);
        } else {
            at.sh(&line.replace("IFB", &ifbs(&at)[0]).split(' ').collect::<Vec<_>>());
        }
        let error = call.check().failure();
        assert!(error.text.contains(word) && error.text.contains("has changed"), "{word}: {}", error.text);
    }
}

#[test]
fn del_needs_nothing_but_the_attachment() {
    let at = attached();
    chained(&at, json!({ "egressRate": 8_000_000, "ingressRate": 8_000_000 })).add().success();
    let del = at.typed(&config(json!({ "ingressRate": "no longer valid" }))).pod(&at.pod).without("CNI_NETNS");
    // Another container's, and another network's, stay.
    del.clone().env("CNI_CONTAINERID", "pod-b").del().success();
    at.typed(&config(json!({ "name": "other" }))).pod(&at.pod).del().success();
    assert_eq!(ifbs(&at).len(), 1);
    del.del().success();
    assert!(ifbs(&at).is_empty());
    del.del().success();
}

#[test]
fn a_second_interface_of_a_pod_has_its_own() {
    let at = attached();
    let second = at.typed(&at.config).ifname("eth1").pod(&at.pod).add().success();
    let keys = json!({ "egressRate": 8_000_000 });
    let first_call = chained(&at, keys.clone());
    let second_call = at.typed(&config(keys)).ifname("eth1").pod(&at.pod).prev_result(&second);
    let first_result = first_call.add().success();
    let second_result = second_call.add().success();
    assert_eq!(ifbs(&at).len(), 2);
    first_call.clone().prev_result(&first_result).check().success();
    second_call.clone().prev_result(&second_result).check().success();
    first_call.del().success();
    second_call.clone().prev_result(&second_result).check().success();
    second_call.del().success();
    assert!(ifbs(&at).is_empty());
}

#[test]
fn a_second_add_replaces_what_the_first_left() {
    let at = attached();
    for keys in [
        json!({ "egressRate": 8_000_000, "ingressRate": 8_000_000 }),
        json!({ "egressRate": 4_000_000, "ingressRate": 4_000_000, "unshapedSubnets": ["10.9.0.0/16"] }),
        json!({ "egressRate": 8_000_000, "ingressRate": 4_000_000 }),
    ] {
        let call = chained(&at, keys);
        let result = call.add().success();
        assert_eq!(ifbs(&at).len(), 1);
        call.prev_result(&result).check().success();
    }
}

#[test]
fn gc_removes_what_no_valid_attachment_of_the_network_owns() {
    let at = attached();
    let other = at.pod("b");
    let bridged = at.typed(&at.config).pod(&other).add().success();
    let keys = json!({ "egressRate": 8_000_000 });
    chained(&at, keys.clone()).add().success();
    at.typed(&config(keys)).pod(&other).prev_result(&bridged).add().success();
    at.sh(&["ip", "link", "add", "bwpforeign", "type", "ifb"]);
    let gc = |network: &str, valid: &[&str]| {
        let valid: Vec<Value> = valid.iter().map(|id| json!({ "containerID": id, "ifname": "eth0" })).collect();
        let keys = json!({ "name": network, "cni.dev/valid-attachments": valid });
        at.typed(&config(keys)).run("GC").success();
        ifbs(&at).len()
    };
    assert_eq!(gc("other", &[]), 3);
    assert_eq!(gc("net", &["pod-a", "pod-b"]), 3);
    assert_eq!(gc("net", &["pod-b"]), 2);
    chained(&at, json!({})).del().success();
    assert_eq!(gc("net", &[]), 1);
}

#[test]
fn what_go_made_we_delete_and_what_we_made_go_deletes() {
    let keys = json!({
        "cniVersion": "1.0.0", "name": "net", "type": "bandwidth",
        "ingressRate": 8_000_000, "ingressBurst": 160_000, "egressRate": 8_000_000, "egressBurst": 160_000,
    });
    for (add, del) in [(BinDir::reference(), BinDir::ours()), (BinDir::ours(), BinDir::reference())] {
        let at = Attached::to(&conf::gateway(&[V4], json!({ "cniVersion": "1.0.0" })));
        let call = |bins: &BinDir| at.plugin(bins, "bandwidth").pod(&at.pod).config(&keys).prev_result(&at.result);
        let result = call(&add).add().success();
        assert_eq!(ifbs(&at).len(), 1);
        // Each knows what the other made for its own.
        call(&BinDir::ours()).prev_result(&result).check().success();
        call(&BinDir::reference()).prev_result(&result).check().success();
        call(&del).del().success();
        assert!(ifbs(&at).is_empty());
    }
}

#[test]
fn bad_input_is_refused_and_changes_nothing() {
    let at = attached();
    let before = shape(&at);
    for (keys, word) in [
        (json!({ "ingressBurst": 8000 }), "ingressBurst"),
        (json!({ "egressRate": -1 }), "egressRate"),
        (json!({ "egressRate": 8000, "egressBurst": -1 }), "egressBurst"),
        (json!({ "egressRate": 8000, "egressBurst": 68_719_476_736_u64 }), "egressBurst"),
        (json!({ "ingressRate": 1e30 }), "ingressRate"),
        (json!({ "ingressRate": 8000, "unshapedSubnets": ["10.0.0.1"] }), "unshapedSubnets[0]"),
        (json!({ "runtimeConfig": { "bandwidth": { "egressBurst": 8 } } }), "runtimeConfig.bandwidth.egressBurst"),
    ] {
        let error = chained(&at, keys.clone()).add().failure();
        assert!(error.code == 7 && error.text.contains(word), "{keys}: {} {}", error.code, error.text);
    }
    let error = at.typed(&config(json!({ "ingressRate": 8000 }))).pod(&at.pod).add().failure();
    assert!(error.text.contains("prevResult"), "{}", error.text);
    assert_eq!(at.typed(&config(json!({ "ingressRate": -1 }))).run("STATUS").failure().code, 50);
    at.typed(&config(json!({ "ingressRate": 8000 }))).run("STATUS").success();
    assert_eq!(shape(&at), before);
}

#[test]
fn an_interface_that_is_no_veth_cannot_be_limited() {
    let node = Node::new();
    let pod = node.pod("a");
    pod.sh(&["ip", "link", "add", "eth0", "type", "bridge"]);
    let sandbox = pod.id().netns.to_string_lossy().into_owned();
    let result = json!({ "cniVersion": "1.1.0", "interfaces": [{ "name": "eth0", "sandbox": sandbox }] });
    let call = node.typed(&config(json!({ "egressRate": 8000 }))).pod(&pod).prev_result(&result);
    let error = call.add().failure();
    assert!(["eth0", "veth", "bridge interface"].iter().all(|word| error.text.contains(word)), "{}", error.text);
    assert!(node.link_names().is_empty());
}

#[test]
fn a_failed_add_leaves_nothing() {
    let at = attached();
    let port = at.port_name();
    at.sh(&["tc", "qdisc", "add", "dev", &port, "ingress"]);
    let foreign = ["tc", "filter", "add", "dev", &port, "parent", "ffff:", "prio", "7", "protocol", "ip", "u32"];
    at.sh(&[&foreign[..], &["match", "ip", "dst", "10.9.0.0/16", "classid", "1:1"]].concat());
    let before = shape(&at);
    let error = chained(&at, json!({ "egressRate": 8_000_000, "ingressRate": 8_000_000 })).add().failure();
    assert!(error.text.contains("ingress qdisc"), "{}", error.text);
    assert_eq!(shape(&at), before);
}

#[test]
fn a_call_killed_at_any_request_is_finished_by_the_next() {
    let at = attached();
    let call = chained(&at, json!({ "egressRate": 8_000_000, "ingressRate": 8_000_000 }));
    let requests = "sendto,sendmsg";
    let mut killed = 0;
    while call.killed_at("ADD", requests, killed + 1) {
        killed += 1;
        if killed % 2 == 0 {
            let result = call.add().success();
            call.clone().prev_result(&result).check().success();
        }
        call.del().success();
        assert!(ifbs(&at).is_empty(), "killed at request {killed} of ADD");
    }
    assert!(killed >= 9, "only {killed} requests of ADD were seen");
    let mut killed = 0;
    while call.killed_at("DEL", requests, killed + 1) {
        killed += 1;
        call.del().success();
        assert!(ifbs(&at).is_empty(), "killed at request {killed} of DEL");
        call.add().success();
    }
    assert!(killed >= 3, "only {killed} requests of DEL were seen");
}

#[test]
fn many_at_once_do_not_disturb_each_other() {
    let at = attached();
    let pods: Vec<_> = (0..30).map(|number| at.pod(&format!("p{number}"))).collect();
    std::thread::scope(|scope| {
        for pod in &pods {
            let at = &at;
            scope.spawn(move || {
                let bridged = at.typed(&at.config).pod(pod).add().success();
                let keys = config(json!({ "egressRate": 8_000_000, "ingressRate": 8_000_000 }));
                let call = at.typed(&keys).pod(pod).prev_result(&bridged);
                let result = call.add().success();
                call.clone().prev_result(&result).check().success();
                call.del().success();
            });
        }
    });
    assert!(ifbs(&at).is_empty());
}
