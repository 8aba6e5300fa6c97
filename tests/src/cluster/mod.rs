//! Several nodes on one machine: a switch, nodes with a PodCIDR each, a host outside, and how the nodes reach each other's pods.
//!
//! Everything is as a cluster's own parts set it up: routes or VXLAN and the masquerading as flanneld does, Services as kube-proxy
//! does. Only the pods are wired by the plugins under test, through `cnitool`.

pub mod answering;
pub mod daemon;
pub mod iptables_mode;
pub mod joined;
pub mod member;
pub mod nftables_mode;
pub mod proxy;
pub mod resolver;
pub mod service;

use std::net::{IpAddr, SocketAddr};

use serde_json::{Value, json};

pub use answering::Answering;
pub use daemon::Daemon;
pub use joined::Joined;
pub use member::{Member, WiredPod};
pub use proxy::Mode;
pub use resolver::Resolver;
pub use service::{Endpoint, Service};

use crate::{BinDir, Namespace, Node, Pod};

/// The two families, as indices of every pair of addresses here.
pub const FAMILIES: [usize; 2] = [0, 1];
/// All pods of the cluster.
pub const CLUSTER_CIDR: [&str; 2] = ["10.244.0.0/16", "fd00:244::/32"];
/// The host outside, on the nodes' network. It knows no route to any pod.
pub const OUTSIDE: [&str; 2] = ["192.0.2.100", "2001:db8:ffff::100"];
/// The network of load balancers' addresses: the host outside sends it to one node, as a load balancer would.
pub const LOAD_BALANCED: [&str; 2] = ["198.51.100.0/24", "2001:db8:1b::/64"];

/// What a cluster is to be like.
#[derive(Debug, Clone)]
pub struct Plan {
    /// How many nodes.
    pub nodes: usize,
    /// How they reach each other's pods.
    pub joined: Joined,
    /// More keys for the bridge plugin.
    pub keys: Value,
    /// Whether netfilter sees packets that only cross a bridge (`net.bridge.bridge-nf-call-iptables`).
    pub br_netfilter: bool,
    /// Whose plugins.
    pub bins: BinDir,
}

impl Default for Plan {
    /// Three nodes joined by routes, `hairpinMode`, br_netfilter on: what kubeadm's checks ask for.
    fn default() -> Self {
        Self {
            nodes: 3,
            joined: Joined::Routes,
            keys: json!({ "hairpinMode": true }),
            br_netfilter: true,
            bins: BinDir::ours(),
        }
    }
}

/// Nodes on one switch, with a host outside.
#[derive(Debug)]
pub struct Cluster {
    /// The nodes; index 0 is node number 1.
    pub nodes: Vec<Member>,
    outside: Pod,
    /// Keeps the network between them.
    _switch: Node,
}

impl Cluster {
    /// Sets up the nodes and the network between them.
    pub fn new(plan: &Plan) -> Self {
        let switch = Node::new();
        switch.sh(&["ip", "link", "add", "br0", "type", "bridge"]);
        // A switch only: it has no address, and its own netfilter must not see what passes.
        for family in ["ip", "ip6"] {
            switch.sh(&["sysctl", "-qe", "-w", &format!("net.bridge.bridge-nf-call-{family}tables=0")]);
        }
        switch.sh(&["ip", "link", "set", "br0", "up"]);
        let outside = switch.pod("outside");
        plug(&switch, &outside, "outside", &OUTSIDE.map(str::to_owned));
        let nodes: Vec<Member> = (1..=plan.nodes).map(|number| Member::new(number, plan)).collect();
        for node in &nodes {
            plug(&switch, node, &format!("n{}", node.number), &node.addresses());
            for gateway in OUTSIDE {
                node.sh(&["ip", "route", "add", "default", "via", gateway]);
            }
        }
        for node in &nodes {
            plan.joined.join(node, &nodes);
        }
        for node in &nodes {
            member::answers(&outside, &node.addresses()[1]);
            member::answers(node, OUTSIDE[1]);
        }
        Self { nodes, outside, _switch: switch }
    }

    /// The host outside.
    pub fn outside(&self) -> &Namespace {
        &self.outside
    }

    /// Has the host outside send [`LOAD_BALANCED`] to the node.
    pub fn balance_to(&self, node: &Member) {
        for (network, node) in LOAD_BALANCED.iter().zip(node.addresses()) {
            self.outside.sh(&["ip", "route", "replace", network, "via", &node]);
        }
    }

    /// Installs the Services' rules on every node, in place of those that were there.
    pub fn serve(&self, mode: Mode, services: &[Service]) {
        for node in &self.nodes {
            proxy::install(mode, node, services);
        }
    }
}

/// Connects a host to the switch by its `eth0`.
fn plug(switch: &Node, host: &Namespace, port: &str, addresses: &[String; 2]) {
    let far = host.path().display().to_string();
    switch.sh(&["ip", "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", &far]);
    switch.sh(&["ip", "link", "set", port, "master", "br0", "up"]);
    host.sh(&["ip", "link", "set", "lo", "up"]);
    host.sh(&["ip", "addr", "add", &format!("{}/24", addresses[0]), "dev", "eth0"]);
    host.sh(&["ip", "addr", "add", &format!("{}/64", addresses[1]), "dev", "eth0", "nodad"]);
    host.sh(&["ip", "link", "set", "eth0", "up"]);
}

/// An address that a test has written down.
#[track_caller]
pub fn ip(text: &str) -> IpAddr {
    text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
}

/// A port of an address.
#[track_caller]
pub fn at(address: &str, port: u16) -> SocketAddr {
    SocketAddr::new(ip(address), port)
}
