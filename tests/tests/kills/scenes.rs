//! The plugins, each in the configuration in which it does most.

use podlink_tests::{BinDir, Node, Pod, conf};
use serde_json::{Value, json};

use crate::scene::{Kind, Scene};

const SUBNETS: [&str; 2] = ["10.1.0.0/24", "fd00:1::/64"];

/// Whether the plugin has run on the node before, so that tables, chains, the bridge and directories are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Node1st {
    Fresh,
    Used,
}

/// Makes a scene: fresh or used.
pub type Make = fn(Node1st) -> Scene;

fn bridge_config(backend: &str) -> Value {
    let keys = json!({ "isDefaultGateway": true, "ipMasq": true, "ipMasqBackend": backend, "macspoofchk": true });
    conf::gateway(&SUBNETS, keys)
}

pub fn bridge(used: Node1st) -> Scene {
    first(bridge_config("nftables"), Kind::Interface, used)
}

pub fn bridge_iptables(used: Node1st) -> Scene {
    first(bridge_config("iptables"), Kind::Interface, used)
}

/// The program that is bridge and host-local at once.
pub fn bridge_in_one(used: Node1st) -> Scene {
    let make = |node: &Node| BinDir::of_one_program(node, &["bridge", "host-local"]);
    begin(make, bridge_config("nftables"), Kind::Interface, None, used)
}

pub fn host_local(used: Node1st) -> Scene {
    let config =
        json!({ "cniVersion": "1.1.0", "name": "net", "type": "host-local", "ipam": conf::host_local(&SUBNETS) });
    first(config, Kind::Address, used)
}

fn ports(backend: &str) -> Value {
    let ports = json!([
        { "hostPort": 8080, "containerPort": 80, "protocol": "tcp" },
        { "hostPort": 53, "containerPort": 53, "protocol": "udp", "hostIP": "10.1.0.1" },
    ]);
    json!({
        "cniVersion": "1.1.0", "name": "net", "type": "portmap", "backend": backend, "snat": true,
        "runtimeConfig": { "portMappings": ports },
    })
}

pub fn portmap(used: Node1st) -> Scene {
    chained(ports("nftables"), Kind::OnTheNode, used)
}

pub fn portmap_iptables(used: Node1st) -> Scene {
    chained(ports("iptables"), Kind::OnTheNode, used)
}

fn fence(backend: &str) -> Value {
    json!({
        "cniVersion": "1.1.0", "name": "net", "type": "firewall", "backend": backend, "ingressPolicy": "isolated",
    })
}

pub fn firewall(used: Node1st) -> Scene {
    chained(fence("nftables"), Kind::OnTheNode, used)
}

pub fn firewall_iptables(used: Node1st) -> Scene {
    chained(fence("iptables"), Kind::OnTheNode, used)
}

pub fn tuning(used: Node1st) -> Scene {
    let keys = json!({
        "cniVersion": "1.1.0", "name": "net", "type": "tuning",
        "sysctl": { "net.ipv4.conf.IFNAME.arp_filter": "1", "net/core/somaxconn": "500" },
        "mac": "02:11:22:33:44:55", "mtu": 1400, "promisc": true, "allmulti": true, "txQLen": 77,
    });
    chained(keys, Kind::InThePod, used)
}

pub fn bandwidth(used: Node1st) -> Scene {
    let rates = json!({
        "cniVersion": "1.1.0", "name": "net", "type": "bandwidth",
        "egressRate": 8_000_000, "egressBurst": 8_000_000, "ingressRate": 8_000_000, "ingressBurst": 8_000_000,
    });
    chained(rates, Kind::OnTheNode, used)
}

pub fn loopback(used: Node1st) -> Scene {
    first(json!({ "cniVersion": "1.1.0", "name": "net", "type": "loopback" }), Kind::InThePod, used)
}

/// The plugin as the first of its chain.
fn first(config: Value, kind: Kind, used: Node1st) -> Scene {
    begin(|_| BinDir::ours(), config, kind, None, used)
}

/// The plugin after the bridge plugin.
fn chained(config: Value, kind: Kind, used: Node1st) -> Scene {
    let bridge = conf::gateway(&SUBNETS, json!({ "isDefaultGateway": true }));
    begin(|_| BinDir::ours(), config, kind, Some(bridge), used)
}

fn begin(bins: impl FnOnce(&Node) -> BinDir, config: Value, kind: Kind, bridge: Option<Value>, used: Node1st) -> Scene {
    let node = Node::new();
    let [a, b]: [Pod; 2] = ["a", "b"].map(|name| node.pod(name));
    let attach = |config: &Value| [&a, &b].map(|pod| node.typed(config).pod(pod).add().success());
    let previous = bridge.as_ref().map(attach);
    let bins = bins(&node);
    let scene = Scene { node, a, b, bins, config, previous, kind };
    if used == Node1st::Used {
        scene.neighbours_call().add().success();
        scene.call().add().success();
        scene.del(0);
    }
    scene
}
