//! `ipMasq` and `macspoofchk` of the bridge plugin, by the packets that pass and those that do not.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use podlink_tests::conf::{gateway, with};
use podlink_tests::outside::{NODE, OUTSIDE};
use podlink_tests::{BinDir, Node, Outside, Pod};
use serde_json::{Value, json};

const SUBNETS: [&str; 2] = ["10.7.0.0/24", "fd07::/64"];
const BACKENDS: [&str; 2] = ["nftables", "iptables"];

fn masquerading(keys: Value) -> Value {
    gateway(&SUBNETS, with(json!({ "isDefaultGateway": true, "ipMasq": true }), keys))
}

fn add(node: &Node, pod: &Pod, config: &Value) -> Value {
    node.typed(config).pod(pod).add().success()
}

fn ip(pod: &Pod, family: usize) -> std::net::IpAddr {
    pod.addresses("eth0")[family].split('/').next().unwrap().parse().unwrap()
}

/// Every rule and element on the node that names the container, from the point of view of other tools.
fn traces(node: &Node, container_id: &str) -> Vec<String> {
    let mut all = node.sh(&["nft", "list", "ruleset"]);
    all.push_str(&node.sh(&["iptables-save"]));
    all.push_str(&node.sh(&["ip6tables-save"]));
    all.lines().filter(|line| line.contains(container_id)).map(str::to_owned).collect()
}

#[test]
fn the_outside_sees_the_node_and_pods_see_each_other() {
    for backend in BACKENDS.map(Some).into_iter().chain([None]) {
        let node = Node::new();
        let outside = Outside::of(&node);
        let config = masquerading(json!({ "ipMasqBackend": backend }));
        let [a, b] = ["a", "b"].map(|name| node.pod(name));
        let results = [&a, &b].map(|pod| add(&node, pod, &config));
        for family in 0..2 {
            let (server, node_ip): (std::net::IpAddr, std::net::IpAddr) =
                (OUTSIDE[family].parse().unwrap(), NODE[family].parse().unwrap());
            assert_eq!(a.tcp(&outside, server), Ok(node_ip), "{backend:?}");
            assert_eq!(a.udp(&outside, server), Ok(node_ip), "{backend:?}");
            assert_eq!(a.tcp(&b, ip(&b, family)), Ok(ip(&a, family)), "{backend:?}: pod to pod");
            assert_eq!(node.tcp(&b, ip(&b, family)).map(|seen| seen != ip(&b, family)), Ok(true));
        }
        for (pod, result) in [&a, &b].into_iter().zip(&results) {
            let call = node.typed(&config).pod(pod).prev_result(result);
            call.check().success();
            call.del().success();
            assert_eq!(traces(&node, &pod.id().container_id), [""; 0], "{backend:?}");
        }
    }
}

#[test]
fn without_ip_masq_the_outside_sees_the_pod() {
    let node = Node::new();
    let outside = Outside::of(&node);
    let pod = node.pod("a");
    add(&node, &pod, &masquerading(json!({ "ipMasq": false })));
    outside.sh(&["ip", "route", "add", "10.7.0.0/24", "via", NODE[0]]);
    assert_eq!(pod.tcp(&outside, OUTSIDE[0].parse().unwrap()), Ok(ip(&pod, 0)));
}

#[test]
fn del_needs_nothing_but_the_owner_and_leaves_the_others() {
    for backend in BACKENDS {
        let node = Node::new();
        let config = masquerading(json!({ "ipMasqBackend": backend, "macspoofchk": true }));
        let pods = ["a", "b"].map(|name| node.pod(name));
        pods.iter().for_each(|pod| _ = add(&node, pod, &config));
        assert!(!traces(&node, "pod-a").is_empty(), "{backend}: nothing to remove");
        let [a, b] = pods;
        let id = a.destroy();
        let bare = json!({ "cniVersion": "1.1.0", "name": "net", "type": "bridge", "ipam": config["ipam"] });
        let call = node.typed(&bare).pod(&id).without("CNI_NETNS");
        call.del().success();
        assert_eq!(traces(&node, "pod-a"), [""; 0], "{backend}");
        assert!(!traces(&node, "pod-b").is_empty(), "{backend}: the other pod's rules are gone, too");
        call.del().success();
        node.typed(&config).pod(&b).del().success();
        assert_eq!(traces(&node, "pod-b"), [""; 0], "{backend}");
    }
}

#[test]
fn an_address_that_a_dead_pod_left_an_element_for_becomes_the_new_pods() {
    let node = Node::new();
    let config = masquerading(json!({ "ipam": { "type": "host-local", "ranges": [[
        { "subnet": "10.7.0.0/24", "rangeStart": "10.7.0.9", "rangeEnd": "10.7.0.9" }]] } }));
    let dead = node.pod("dead");
    add(&node, &dead, &config);
    dead.destroy();
    std::fs::remove_file(node.outside("/var/lib/cni/networks/net/10.7.0.9")).unwrap();
    let pod = node.pod("b");
    add(&node, &pod, &config);
    assert_eq!((traces(&node, "pod-dead").len(), traces(&node, "pod-b").len()), (0, 1));
}

#[test]
fn gc_keeps_the_valid() {
    let node = Node::new();
    let config = masquerading(json!({ "macspoofchk": true }));
    let pods = ["a", "b"].map(|name| node.pod(name));
    pods.iter().for_each(|pod| _ = add(&node, pod, &config));
    let mut gc = config.clone();
    gc["cni.dev/valid-attachments"] = json!([{ "containerID": "pod-b", "ifname": "eth0" }]);
    node.typed(&gc).run("GC").success();
    assert_eq!(traces(&node, "pod-a"), [""; 0]);
    pods[1].ping("10.7.0.1".parse().unwrap());
    assert!(!traces(&node, "pod-b").is_empty());
}

#[test]
fn check_finds_each_missing_piece() {
    let drifts: [(&str, &[&str], &str); 6] = [
        ("nftables", &["nft", "delete", "element", "inet", "podlink_masq", "pods4", "{ 10.7.0.2 }"], "10.7.0.2"),
        ("nftables", &["nft", "flush", "chain", "inet", "podlink_masq", "subnet-10.7.0.0-24"], "subnet-10.7.0.0-24"),
        ("nftables", &["nft", "flush", "chain", "inet", "podlink_masq", "postrouting"], "postrouting"),
        ("nftables", &["nft", "flush", "set", "bridge", "podlink_spoof", "ports"], "ports"),
        ("nftables", &["nft", "flush", "chain", "bridge", "podlink_spoof", "prerouting"], "prerouting"),
        ("iptables", &["iptables", "-t", "nat", "-F", "POSTROUTING"], "POSTROUTING"),
    ];
    for (backend, command, named) in drifts {
        let node = Node::new();
        let pod = node.pod("a");
        let config = masquerading(json!({ "ipMasqBackend": backend, "macspoofchk": true }));
        let result = add(&node, &pod, &config);
        let call = node.typed(&config).pod(&pod).prev_result(&result);
        call.check().success();
        node.sh(command);
        let error = call.check().failure();
        assert!(error.text.contains(named), "{command:?}: {}", error.text);
        call.del().success();
    }
}

#[test]
fn a_failed_add_takes_its_rules_back() {
    let node = Node::new();
    let pod = node.pod("a");
    // The bridge has another subnet's gateway, which is found out after the rules were made.
    node.sh(&["ip", "link", "add", "cni0", "type", "bridge"]);
    node.sh(&["ip", "addr", "add", "10.99.0.1/24", "dev", "cni0"]);
    let error = node.typed(&masquerading(json!({ "macspoofchk": true }))).pod(&pod).add().failure();
    assert!(error.text.contains("10.99.0.1/24"), "{}", error.text);
    assert_eq!(traces(&node, "pod-a"), [""; 0]);
    assert_eq!(node.reserved("net"), [""; 0]);
}

#[test]
fn many_at_once() {
    let node = Node::new();
    let config = masquerading(json!({ "macspoofchk": true }));
    let pods: Vec<Pod> = (0..16).map(|i| node.pod(&format!("p{i:02}"))).collect();
    std::thread::scope(|scope| pods.iter().for_each(|pod| _ = scope.spawn(|| add(&node, pod, &config))));
    for pod in &pods {
        assert_eq!(traces(&node, &pod.id().container_id).len(), 3, "two addresses and a port");
        pod.ping("10.7.0.1".parse().unwrap());
    }
    std::thread::scope(|scope| {
        pods.iter().for_each(|pod| _ = scope.spawn(|| node.typed(&config).pod(pod).del().success()));
    });
    assert_eq!(traces(&node, "pod-p"), [""; 0]);
}

#[test]
fn frames_from_another_mac_are_dropped() {
    let node = Node::new();
    let config = gateway(&["10.7.0.0/24"], json!({ "macspoofchk": true }));
    let [honest, spoofer] = ["a", "b"].map(|name| node.pod(name));
    let result = add(&node, &spoofer, &config);
    add(&node, &honest, &config);
    spoofer.ping(ip(&honest, 0));
    let gateway = [10, 7, 0, 1].into();
    spoofer.sh(&["ip", "link", "set", "eth0", "address", "02:00:00:00:be:ef"]);
    let mut ping = std::process::Command::new("ping");
    let spoofed = spoofer.finish(ping.args(["-n", "-c", "1", "-W", "1", "10.7.0.1"]), b"");
    assert_eq!(spoofed.code, Some(1), "a spoofed frame passed: {spoofed}");
    honest.ping(gateway);
    let mac = result["interfaces"][2]["mac"].as_str().unwrap();
    spoofer.sh(&["ip", "link", "set", "eth0", "address", mac]);
    spoofer.ping(gateway);
}

#[test]
fn what_the_reference_made_is_removed() {
    let node = Node::new();
    let pod = node.pod("a");
    let config = with(masquerading(json!({ "macspoofchk": true })), json!({ "cniVersion": "1.0.0" }));
    let made = node.plugin(&BinDir::reference(), "bridge").config(&config).pod(&pod).add().success();
    assert!(traces(&node, "pod-a").len() > 4, "the reference made no rules");
    let call = node.typed(&config).pod(&pod).prev_result(&made);
    call.del().success();
    assert_eq!(traces(&node, "pod-a"), [""; 0]);
    assert_eq!(node.reserved("net"), [""; 0]);
}

#[test]
fn no_helper_process_is_run_for_our_own_rules() {
    let node = Node::new();
    let pod = node.pod("a");
    let config = masquerading(json!({ "macspoofchk": true }));
    for verb in ["ADD", "DEL"] {
        let call = node.typed(&config).pod(&pod);
        let plugin = call.command(verb);
        let mut traced = std::process::Command::new("strace");
        // Nothing else is printed, which could cut a call's line in two.
        traced
            .args(["-f", "-qqq", "-e", "signal=none", "-e", "trace=execve", "-o"])
            .arg(node.dir().join(verb))
            .arg(plugin.get_program());
        traced.env_clear().envs(plugin.get_envs().filter_map(|(key, value)| Some((key, value?))));
        assert_eq!(node.finish(&mut traced, call.input()).code, Some(0));
        let text = std::fs::read_to_string(node.dir().join(verb)).unwrap();
        let run: Vec<&str> = text.lines().filter(|line| line.contains("execve(") && line.ends_with("= 0")).collect();
        assert_eq!(run.len(), 2, "{verb}: bridge and host-local, and nothing else: {run:#?}");
    }
}
