//! The conflists of conf-examples, each tried as a newcomer would: with cnitool, two pods, a ping, and clean-up.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::outside::NODE;
use crate::process::Finished;
use crate::traffic::LOST;
use crate::{BinDir, Node, Outside, Pod};

/// The node's port that leads to port 80 of the first pod, where the example maps ports.
const PORT: u16 = 8080;

/// The directory of the examples in this checkout.
pub fn dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../conf-examples")
}

/// One of the examples.
#[derive(Debug)]
pub struct Example {
    bins: BinDir,
    /// The conflist.
    pub conflist: Value,
}

impl Example {
    /// The example `file`, to be run with the plugins of `bins`.
    pub fn read(bins: &BinDir, file: &str) -> Self {
        let text = std::fs::read_to_string(dir().join(file)).unwrap_or_else(|e| panic!("{file}: {e}"));
        let conflist = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{file}: {e}"));
        Self { bins: bins.clone(), conflist }
    }

    /// Whether a plugin of type `plugin` is in the chain.
    pub fn has(&self, plugin: &str) -> bool {
        self.conflist["plugins"].as_array().is_some_and(|chain| chain.iter().any(|member| member["type"] == plugin))
    }

    /// The network's name.
    pub fn network(&self) -> &str {
        self.conflist["name"].as_str().unwrap_or_else(|| panic!("an example without a name: {}", self.conflist))
    }

    /// Runs `cnitool <verb>` for the pod with the capability arguments `asked`, which plugins get that declare them.
    pub fn cnitool(&self, node: &Node, verb: &str, pod: &Pod, asked: &Value) -> Finished {
        let mut command = Command::new(self.bins.plugin("cnitool"));
        command.env("NETCONFPATH", dir()).env("CNI_PATH", self.bins.path()).env("CAP_ARGS", asked.to_string());
        node.finish(command.arg(verb).arg(self.network()).arg(&pod.id().netns), b"")
    }
}

/// Wires two pods through an example, has each reach the other at all its addresses, and takes them away again.
///
/// `addresses` is what the first two pods get, in order; none for a layer 2 network. `gateway` is the interface that
/// has the gateway's addresses. Where the example maps ports, one of the first pod's is reached from outside the node; where
/// it limits bandwidth, the pod's is limited.
pub fn works(bins: &BinDir, file: &str, addresses: [&[&str]; 2], gateway: Option<&str>) {
    works_on(&Node::new(), bins, file, addresses, gateway);
}

/// The same on a node that the test has prepared.
pub fn works_on(node: &Node, bins: &BinDir, file: &str, addresses: [&[&str]; 2], gateway: Option<&str>) {
    let example = Example::read(bins, file);
    let conflist = &example.conflist;
    let outside = example.has("portmap").then(|| Outside::of(node));
    let before = node.link_names();
    let asked = json!({
        "portMappings": [{ "hostPort": PORT, "containerPort": 80, "protocol": "tcp" }],
        "bandwidth": { "ingressRate": 100_000_000, "ingressBurst": 1_000_000, "egressRate": 100_000_000, "egressBurst": 1_000_000 },
    });
    let nothing = json!({});
    let pods = ["a", "b"].map(|name| node.pod(name));
    let wired = || pods.iter().zip([&asked, &nothing]);
    let tool = |verb: &str, pod: &Pod, asked: &Value| example.cnitool(node, verb, pod, asked).success();
    for ((pod, asked), addresses) in wired().zip(addresses) {
        let result: Value =
            serde_json::from_str(&tool("add", pod, asked)).unwrap_or_else(|e| panic!("{file}: result: {e}"));
        assert_eq!(result["cniVersion"], conflist["cniVersion"], "{file}: {result}");
        assert_eq!(pod.addresses("eth0"), addresses, "{file}: addresses of {}", pod.id().container_id);
        assert!(pod.link("eth0").is_some_and(|link| link["operstate"] == "UP"), "{file}: eth0 is not up");
        tool("check", pod, asked);
    }
    for (from, to) in [(&pods[0], &pods[1]), (&pods[1], &pods[0])] {
        for ip in to.addresses("eth0").into_iter().chain(gateway.iter().flat_map(|name| node.addresses(name))) {
            let ip = ip.split('/').next().unwrap_or_default();
            from.ping(ip.parse().unwrap_or_else(|e| panic!("{file}: {ip}: {e}")));
        }
    }
    let published = NODE.map(|ip| SocketAddr::new(ip.parse().unwrap_or_else(|e| panic!("{ip}: {e}")), PORT));
    if let Some(outside) = &outside {
        outside.tcp_published(published[0], &pods[0], 80, LOST).unwrap_or_else(|e| panic!("{file}: {e}"));
        assert_ne!(node.rules_of_pods(&[]), [""; 0], "{file}: what shows that nothing is left sees no rule");
    }
    let limits = node.links().iter().filter(|link| link["qdisc"] == "tbf").count();
    assert_eq!(limits, if example.has("bandwidth") { 2 } else { 0 }, "{file}: one limit for each direction");
    for (pod, asked) in wired() {
        tool("del", pod, asked);
        assert_eq!(pod.link_names(), [""; 0], "{file}: left in the pod");
    }
    if let Some(outside) = &outside {
        outside.refused(published[0]);
        let addresses = addresses.concat();
        // The plugins choose nf_tables here: not even shared chains of iptables are made.
        let names = ["cnitool-", "CNI-"].into_iter();
        let names: Vec<&str> = names.chain(addresses.iter().filter_map(|ip| ip.split('/').next())).collect();
        assert_eq!(node.rules_of_pods(&names), [""; 0], "{file}: rules left");
    }
    // The bridge stays, and in a VLAN the gateway's pair; an interface with its peer in another namespace is a pod's.
    let of_a_pod = |link: &Value| link["link_netnsid"].is_u64() || link["linkinfo"]["info_kind"] == "ifb";
    let mut left = node.links();
    left.retain(|link| of_a_pod(link) && !before.iter().any(|name| link["ifname"] == name.as_str()));
    assert!(left.is_empty(), "{file}: left on the node: {left:?}");
    let results = node.outside("/var/lib/cni/results");
    assert_eq!(std::fs::read_dir(results).map(Iterator::count).unwrap_or_default(), 0, "{file}: cached results left");
}
