//! After a reboot no pod of before exists: its addresses are free again. Without one, an attachment whose interface is
//! gone gets its address again.

use std::path::Path;

use podlink_tests::{BinDir, Call, Node, Pod, PodId, conf, files};
use serde_json::{Value, json};

const SUBNET: &str = "10.1.0.0/29";
/// As many as the subnet has: .1 is the gateway's.
const ROOM: usize = 5;

fn host_local(keys: Value) -> Value {
    let ipam = conf::with(conf::host_local(&[SUBNET]), keys);
    json!({ "cniVersion": "1.1.0", "name": "net", "type": "host-local", "ipam": ipam })
}

fn id(name: &str) -> PodId {
    PodId { container_id: format!("pod-{name}"), netns: "/run/netns/none".into() }
}

fn address(result: &Value) -> String {
    result["ips"][0]["address"].as_str().unwrap_or_default().split('/').next().unwrap_or_default().to_owned()
}

/// The kernel's boot ID on this node becomes another one.
fn boots(node: &Node, number: u32) {
    let file = node.dir().join("boot_id");
    files::write(&file, &format!("00000000-0000-4000-8000-{number:012}\n"));
    // Each boot's mount lies on the one before.
    node.sh(&["mount", "--bind", path(&file), "/proc/sys/kernel/random/boot_id"]);
    let seen = node.sh(&["cat", "/proc/sys/kernel/random/boot_id"]);
    assert!(seen.starts_with("00000000-0000-4000") && seen.trim().ends_with(&number.to_string()), "{seen}");
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap_or_else(|| panic!("{} is not UTF-8", path.display()))
}

/// Reserves all there are, each for a pod of its own.
fn fill(node: &Node, config: &Value) -> Vec<String> {
    (0..ROOM).map(|n| address(&node.typed(config).pod(&id(&format!("old{n}"))).add().success())).collect()
}

fn holder(node: &Node, address: &str) -> String {
    std::fs::read_to_string(node.outside("/var/lib/cni/networks/net").join(address)).unwrap_or_default()
}

#[test]
fn the_range_is_free_again_and_it_is_said() {
    let node = Node::new();
    boots(&node, 1);
    let config = host_local(json!({}));
    fill(&node, &config);
    node.typed(&config).pod(&id("late")).add().failure();
    assert_eq!(node.typed(&config).run("STATUS").failure().code, 50);
    boots(&node, 2);
    node.typed(&config).run("STATUS").success();
    let added = node.typed(&config).pod(&id("new")).add();
    added.success();
    assert!(added.stderr().contains("boot"), "the operator is told: {:?}", added.stderr());
    assert_eq!(node.reserved("net").len(), 1, "{:?}", node.reserved("net"));
    let again = node.typed(&config).pod(&id("newer")).add();
    again.success();
    assert!(!again.stderr().contains("boot"), "only once: {:?}", again.stderr());
    // The pods of this boot stay, whoever comes.
    for n in 0..ROOM - 2 {
        node.typed(&config).pod(&id(&format!("n{n}"))).add().success();
    }
    node.typed(&config).pod(&id("late")).add().failure();
    assert_eq!(node.reserved("net").len(), ROOM);
}

#[test]
fn a_network_may_keep_its_addresses() {
    let node = Node::new();
    boots(&node, 1);
    let config = host_local(json!({ "keepAcrossReboot": true }));
    fill(&node, &config);
    boots(&node, 2);
    node.typed(&config).pod(&id("new")).add().failure();
    assert_eq!(node.reserved("net").len(), ROOM);
    node.typed(&config).pod(&id("old0")).del().success();
    node.typed(&config).pod(&id("new")).add().success();
}

#[test]
fn what_the_reference_reserved_stays() {
    let node = Node::new();
    boots(&node, 1);
    let config = host_local(json!({}));
    let old = conf::with(config.clone(), json!({ "cniVersion": "1.0.0" }));
    let theirs = node.plugin(&BinDir::reference(), "host-local").config(&old).pod(&id("theirs")).add().success();
    let ours = address(&node.typed(&config).pod(&id("ours")).add().success());
    boots(&node, 2);
    node.typed(&config).pod(&id("new")).add().success();
    assert_eq!(holder(&node, &address(&theirs)), "pod-theirs\r\neth0");
    assert_ne!(holder(&node, &ours), "pod-ours\r\neth0");
}

#[test]
fn the_same_attachment_gets_its_address_again() {
    let node = Node::new();
    boots(&node, 1);
    let config = host_local(json!({}));
    let call = node.typed(&config).pod(&id("static"));
    node.typed(&config).pod(&id("before")).add().success();
    let before = address(&call.add().success());
    boots(&node, 2);
    assert_eq!(address(&call.add().success()), before);
    assert_eq!(node.reserved("net"), [before], "the other one's is free");
}

#[test]
fn a_bridge_whose_pods_are_of_an_earlier_boot_works_on() {
    let node = Node::new();
    boots(&node, 1);
    let config = conf::gateway(&[SUBNET], json!({ "isDefaultGateway": true }));
    let pods: Vec<Pod> = (0..ROOM).map(|n| node.pod(&format!("p{n}"))).collect();
    pods.iter().for_each(|pod| drop(node.typed(&config).pod(pod).add().success()));
    boots(&node, 2);
    // What a reboot does: all links are gone.
    for link in node.link_names() {
        // The other end of a pair may have gone before.
        node.sh(&["sh", "-c", &format!("ip link del {link} 2>/dev/null; true")]);
    }
    drop(pods);
    let running: Vec<Pod> = (0..ROOM).map(|n| node.pod(&format!("q{n}"))).collect();
    for pod in &running {
        node.typed(&config).pod(pod).add().success();
    }
    let held: Vec<String> = node.reserved("net").iter().map(|address| holder(&node, address)).collect();
    assert!(held.iter().all(|holder| holder.starts_with("pod-q")), "{held:?}");
    assert_eq!(held.len(), ROOM);
    running[0].ping(running[1].addresses("eth0")[0].trim_end_matches("/29").parse().unwrap_or_else(|e| panic!("{e}")));
}

/// An attachment in the boot that goes on, whose interface has gone without a DEL.
fn without_its_interface(lose: impl FnOnce(&Node, &Pod, &Value)) {
    let node = Node::new();
    let config = conf::gateway(&[SUBNET], json!({}));
    let other = node.pod("other");
    node.typed(&config).pod(&other).add().success();
    let pod = node.pod("a");
    let call: Call<'_> = node.typed(&config).pod(&pod);
    let first = call.add().success();
    lose(&node, &pod, &first);
    let second = call.add().success();
    assert_eq!(address(&second), address(&first));
    assert_eq!(node.reserved("net").len(), 2);
    assert_eq!(pod.addresses("eth0"), [format!("{}/29", address(&first))]);
    // While it is there, a second ADD is refused and changes nothing.
    let error = call.add().failure();
    assert!(error.text.contains("pod-a"), "{}", error.text);
    assert_eq!(node.reserved("net").len(), 2);
    call.del().success();
    assert_eq!(node.reserved("net").len(), 1);
}

#[test]
fn an_attachment_whose_host_end_is_gone_gets_its_address_again() {
    without_its_interface(|node, _, result| {
        let port = result["interfaces"][1]["name"].as_str().unwrap_or_default().to_owned();
        node.sh(&["ip", "link", "del", &port]);
    });
}

#[test]
fn an_attachment_whose_namespace_was_made_anew_gets_its_address_again() {
    let node = Node::new();
    let config = conf::gateway(&[SUBNET], json!({}));
    let pod = node.pod("a");
    let first = node.typed(&config).pod(&pod).add().success();
    let port = first["interfaces"][1]["name"].as_str().unwrap_or_default().to_owned();
    pod.destroy();
    node.wait_until("the host end is gone", |node| node.link(&port).is_none());
    let pod = node.pod("a");
    let call = node.typed(&config).pod(&pod);
    assert_eq!(address(&call.add().success()), address(&first));
    assert_eq!(node.reserved("net").len(), 1);
}

#[test]
fn host_local_alone_cannot_know_and_names_the_holder() {
    let node = Node::new();
    let config = host_local(json!({}));
    let call = node.typed(&config).pod(&id("a"));
    let first = address(&call.add().success());
    let error = call.add().failure();
    assert!(error.text.contains("pod-a") && error.text.contains(&first), "{}", error.text);
    assert_eq!(node.reserved("net"), [first]);
}
