//! A pod that has been attached to a network: where most tests of the other verbs begin.

use std::ops::Deref;

use serde_json::{Value, json};

use crate::compare::Labels;
use crate::{BinDir, Call, Node, Pod};

/// A node with the pod `a` on it, and a successful ADD of that pod's `eth0`.
#[derive(Debug)]
pub struct Attached {
    /// The pod.
    pub pod: Pod,
    /// The network's configuration, without `prevResult`.
    pub config: Value,
    /// What ADD returned.
    pub result: Value,
    node: Node,
}

impl Attached {
    /// On a fresh node, by the plugin of `config`'s `type`.
    #[track_caller]
    pub fn to(config: &Value) -> Self {
        Self::on(Node::new(), config)
    }

    /// On a node that the test has prepared.
    #[track_caller]
    pub fn on(node: Node, config: &Value) -> Self {
        let pod = node.pod("a");
        let result = node.typed(config).pod(&pod).add().success();
        Self { pod, config: config.clone(), result, node }
    }

    /// The next call about the attachment, with its `prevResult`.
    pub fn call(&self) -> Call<'_> {
        self.node.typed(&self.config).pod(&self.pod).prev_result(&self.result)
    }

    /// The name of the host end of the pod's veth pair.
    pub fn port_name(&self) -> String {
        self.result["interfaces"][1]["name"].as_str().unwrap_or_default().to_owned()
    }

    /// The host end of the pod's veth pair.
    #[track_caller]
    pub fn port(&self) -> Value {
        let name = self.port_name();
        self.node.link(&name).unwrap_or_else(|| panic!("no bridge port {name}"))
    }

    /// The pod's `eth0`.
    #[track_caller]
    pub fn eth0(&self) -> Value {
        self.pod.link("eth0").unwrap_or_else(|| panic!("no eth0 in the pod"))
    }

    /// The node's link `name`.
    #[track_caller]
    pub fn link_of_node(&self, name: &str) -> Value {
        self.node.link(name).unwrap_or_else(|| panic!("no link {name} on the node"))
    }
}

impl Deref for Attached {
    type Target = Node;

    fn deref(&self) -> &Node {
        &self.node
    }
}

impl Node {
    /// A call of our plugin that `config` is for, with it on stdin.
    pub fn typed(&self, config: &Value) -> Call<'_> {
        let plugin = config["type"].as_str().unwrap_or_else(|| panic!("a config without a type: {config}"));
        self.plugin(&BinDir::ours(), plugin).config(config)
    }

    /// What an ADD can leave behind for `pod`: both kernels' state and the reservations in every address store. Taken
    /// twice with the same labels, it is equal exactly when nothing has changed.
    pub fn state(&self, labels: &mut Labels, pod: &Pod) -> Value {
        let mut stores = crate::files::below(&self.outside("/var/lib/cni/networks"));
        // A store's lock and its note of the last address may come and change without harm.
        stores.retain(|file, _| file.rsplit('/').next().is_some_and(is_address));
        json!({ "node": labels.kernel(self), "pod": labels.kernel(pod), "stores": stores })
    }

    /// The addresses that the network's store in the default `dataDir` has reserved, sorted as texts.
    pub fn reserved(&self, network: &str) -> Vec<String> {
        let files = crate::files::below(&self.outside("/var/lib/cni/networks").join(network));
        files.into_keys().filter(|name| is_address(name)).collect()
    }
}

fn is_address(name: &str) -> bool {
    name.parse::<std::net::IpAddr>().is_ok()
}
