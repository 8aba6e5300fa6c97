//! The flannel meta plugin: what flanneld leased becomes the pods' network, and DEL and CHECK mean what ADD made.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod life;
mod removal;

use podlink_tests::files::{make_dir, write};
use podlink_tests::{BinDir, Node, conf};
use serde_json::{Value, json};

const SUBNET_ENV: &str =
    "FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_SUBNET=10.244.1.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=false\n";

/// The network `net`, as kube-flannel's conflist has it, with `keys` added.
fn flannel(keys: Value) -> Value {
    let base = json!({ "cniVersion": "1.1.0", "name": "net", "type": "flannel" });
    conf::with(conf::with(base, json!({ "delegate": { "hairpinMode": true, "isDefaultGateway": true } })), keys)
}

/// A node on which flanneld has leased a subnet.
fn node_with(subnet_env: &str) -> Node {
    let node = Node::new();
    lease(&node, subnet_env);
    node
}

fn lease(node: &Node, subnet_env: &str) {
    let file = node.outside("/run/flannel/subnet.env");
    make_dir(file.parent().unwrap());
    write(&file, subnet_env);
}

/// The names of the configs that are kept.
fn kept(node: &Node) -> Vec<String> {
    podlink_tests::files::below(&node.outside("/var/lib/cni/flannel")).into_keys().collect()
}

/// A directory on the node in which every plugin is a name of one file.
fn suite(node: &Node) -> BinDir {
    BinDir::of_one_program(node, &["flannel", "bridge", "ptp", "host-local"])
}
