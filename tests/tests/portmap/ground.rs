//! A node with an outside host and pods, connections to fixed ports, and what of the plugin's is on the node.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use podlink_tests::{Call, Namespace, Node, Outside, Pod, conf, need};
use serde_json::{Value, json};

pub const SUBNETS: [&str; 2] = ["10.1.0.0/24", "fd00:1::/64"];
/// The node's addresses on the bridge, and those of the first and second pod.
pub const BRIDGE: [&str; 2] = ["10.1.0.1", "fd00:1::1"];
pub const POD: [&str; 2] = ["10.1.0.2", "fd00:1::2"];
pub const SECOND: [&str; 2] = ["10.1.0.3", "fd00:1::3"];
pub const BACKENDS: [&str; 2] = ["nftables", "iptables"];
/// How long a packet that must not arrive is waited for.
pub const BLOCKED: Duration = Duration::from_millis(400);
pub use podlink_tests::traffic::{LOST as ARRIVES, udp_exchange as exchange};

pub fn ip(text: &str) -> IpAddr {
    text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
}

pub fn at(address: &str, port: u16) -> SocketAddr {
    SocketAddr::new(ip(address), port)
}

/// The client as the server saw it.
pub fn tcp(
    client: &Namespace,
    to: SocketAddr,
    server: &Namespace,
    port: u16,
    wait: Duration,
) -> Result<IpAddr, String> {
    client.tcp_published(to, server, port, wait)
}

/// The same with a datagram and its answer.
pub fn udp(
    client: &Namespace,
    to: SocketAddr,
    server: &Namespace,
    port: u16,
    wait: Duration,
) -> Result<IpAddr, String> {
    client.udp_published(to, server, port, wait)
}

pub fn port(host: u32, container: u32, protocol: &str) -> Value {
    json!({ "hostPort": host, "containerPort": container, "protocol": protocol })
}

pub fn port_of(address: &str, host: u32, protocol: &str) -> Value {
    json!({ "hostPort": host, "containerPort": 80, "protocol": protocol, "hostIP": address })
}

pub fn portmap(keys: Value, ports: Value) -> Value {
    let base = json!({ "cniVersion": "1.1.0", "name": "net", "type": "portmap" });
    conf::with(conf::with(base, keys), json!({ "runtimeConfig": { "portMappings": ports } }))
}

/// Whether netfilter sees packets that only cross a bridge. The node's default depends on what was loaded before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BridgeNetfilter {
    Off,
    /// A pod then reaches itself only with `hairpinMode`: its packets turn round within the bridge.
    On,
}

/// A node with an outside host and pods of one bridge network; the first is `a`.
pub struct Ground {
    pub outside: Outside,
    pub pods: Vec<(Pod, Value)>,
    pub node: Node,
}

impl Ground {
    pub fn new(pods: &[&str]) -> Ground {
        Ground::with(pods, &SUBNETS)
    }

    pub fn with(pods: &[&str], subnets: &[&str]) -> Ground {
        Ground::on(pods, subnets, BridgeNetfilter::Off)
    }

    pub fn on(pods: &[&str], subnets: &[&str], bridged: BridgeNetfilter) -> Ground {
        let node = Node::new();
        let outside = Outside::of(&node);
        for family in ["ip", "ip6"] {
            let setting =
                format!("net.bridge.bridge-nf-call-{family}tables={}", u8::from(bridged == BridgeNetfilter::On));
            // A kernel without it shows netfilter no bridged packets either.
            node.sh(&["sysctl", "-qe", "-w", &setting]);
        }
        let config =
            conf::gateway(subnets, json!({ "isDefaultGateway": true, "hairpinMode": bridged == BridgeNetfilter::On }));
        let attach = |name: &&str| {
            let pod = node.pod(name);
            let result = node.typed(&config).pod(&pod).add().success();
            pod.sh(&["ip", "link", "set", "lo", "up"]);
            (pod, result)
        };
        let pods = pods.iter().map(attach).collect();
        Ground { outside, pods, node }
    }

    pub fn pod(&self, index: usize) -> &Pod {
        &self.pods[index].0
    }

    /// A call for the pod, with its `prevResult`.
    pub fn call(&self, index: usize, keys: Value, ports: Value) -> Call<'_> {
        let (pod, result) = &self.pods[index];
        self.node.typed(&portmap(keys, ports)).pod(pod).prev_result(result)
    }

    /// Every element and rule that a container can own, as other tools see them; empty where there is none.
    pub fn owned(&self) -> Vec<String> {
        let listed = self.nft(&["list", "ruleset"]);
        let items = listed["nftables"].as_array().cloned().unwrap_or_default();
        let mut found = Vec::new();
        for item in items {
            for kind in ["set", "map"] {
                let elements = item[kind]["elem"].as_array().cloned().unwrap_or_default();
                let name = item[kind]["name"].as_str().unwrap_or_default();
                found.extend(elements.iter().map(|element| format!("{name} {element}")));
            }
        }
        for program in ["iptables-save", "ip6tables-save"] {
            let saved = self.node.sh(&[program]);
            found.extend(saved.lines().filter(|line| line.contains("CNI-DN-")).map(str::to_owned));
        }
        found.sort();
        found
    }

    pub fn nft(&self, line: &[&str]) -> Value {
        let answer = self.node.sh(&[&["nft", "-j"], line].concat());
        serde_json::from_str(&answer).unwrap_or_else(|e| panic!("nft {line:?} printed no JSON ({e}): {answer}"))
    }

    pub fn gc(&self, keys: Value, valid: &[&str]) -> Vec<String> {
        let valid: Vec<Value> = valid.iter().map(|id| json!({ "containerID": id, "ifname": "eth0" })).collect();
        let base =
            json!({ "cniVersion": "1.1.0", "name": "net", "type": "portmap", "cni.dev/valid-attachments": valid });
        self.node.typed(&conf::with(base, keys)).run("GC").success();
        self.owned()
    }
}

/// A directory in which the plain names are iptables of one make, `nft` or `legacy`.
pub fn iptables_of(ground: &Ground, make: &str) -> PathBuf {
    let dir = ground.node.dir().join(make);
    podlink_tests::files::make_dir(&dir);
    for family in ["iptables", "ip6tables"] {
        for program in ["save", "restore"] {
            let target = need::tool(&format!("{family}-{make}-{program}"));
            // Made by whoever is first.
            let _ = std::os::unix::fs::symlink(target, dir.join(format!("{family}-{program}")));
        }
    }
    dir
}
