//! The conflists of conf-examples, each tried as a newcomer would: with cnitool, two pods, a ping, and clean-up.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::{BinDir, Node, Pod};

/// The directory of the examples in this checkout.
pub fn dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../conf-examples")
}

/// Wires two pods through an example, has each reach the other at all its addresses, and takes them away again.
///
/// `addresses` is what the first two pods get, in order; none for a layer 2 network. `gateway` is the interface that
/// has the gateway's addresses.
pub fn works(bins: &BinDir, file: &str, addresses: [&[&str]; 2], gateway: Option<&str>) {
    let text = std::fs::read_to_string(dir().join(file)).unwrap_or_else(|e| panic!("{file}: {e}"));
    let conflist: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{file}: {e}"));
    let network = conflist["name"].as_str().unwrap_or_else(|| panic!("{file} has no name"));
    let node = Node::new();
    let tool = |verb: &str, pod: &Pod| {
        let mut command = Command::new(bins.plugin("cnitool"));
        command.env("NETCONFPATH", dir()).env("CNI_PATH", bins.path()).arg(verb).arg(network).arg(&pod.id().netns);
        node.finish(&mut command, b"").success()
    };
    let pods = ["a", "b"].map(|name| node.pod(name));
    for (pod, addresses) in pods.iter().zip(addresses) {
        let result: Value = serde_json::from_str(&tool("add", pod)).unwrap_or_else(|e| panic!("{file}: result: {e}"));
        assert_eq!(result["cniVersion"], conflist["cniVersion"], "{file}: {result}");
        assert_eq!(pod.addresses("eth0"), addresses, "{file}: addresses of {}", pod.id().container_id);
        assert!(pod.link("eth0").is_some_and(|link| link["operstate"] == "UP"), "{file}: eth0 is not up");
        tool("check", pod);
    }
    for (from, to) in [(&pods[0], &pods[1]), (&pods[1], &pods[0])] {
        for ip in to.addresses("eth0").into_iter().chain(gateway.iter().flat_map(|name| node.addresses(name))) {
            let ip = ip.split('/').next().unwrap_or_default();
            from.ping(ip.parse().unwrap_or_else(|e| panic!("{file}: {ip}: {e}")));
        }
    }
    for pod in &pods {
        tool("del", pod);
        assert_eq!(pod.link_names(), [""; 0], "{file}: left in the pod");
    }
    // The bridge stays, and in a VLAN the gateway's pair; an interface with its peer in another namespace is a pod's.
    let left: Vec<_> = node.links().into_iter().filter(|link| link["link_netnsid"].is_u64()).collect();
    assert!(left.is_empty(), "{file}: left on the node: {left:?}");
    let results = node.outside("/var/lib/cni/results");
    assert_eq!(std::fs::read_dir(results).map(Iterator::count).unwrap_or_default(), 0, "{file}: cached results left");
}
