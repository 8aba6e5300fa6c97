//! A node of a cluster: its addresses, its PodCIDR and conflist, and its pods.

use std::net::IpAddr;
use std::ops::Deref;
use std::process::Command;

use serde_json::{Value, json};

use super::{CLUSTER_CIDR, Joined, Plan};
use crate::files::{make_dir, write};
use crate::process::Finished;
use crate::{BinDir, Namespace, Node, Pod, conf};

/// The name of the pod network.
const NETWORK: &str = "podnet";

/// A node with its number, from 1, which is a part of all its addresses.
#[derive(Debug)]
pub struct Member {
    /// The number.
    pub number: usize,
    node: Node,
    bins: BinDir,
}

impl Member {
    pub(super) fn new(number: usize, plan: &Plan) -> Self {
        let member = Self { number, node: Node::new(), bins: plan.bins.clone() };
        for setting in ["net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"] {
            member.sh(&["sysctl", "-q", "-w", setting]);
        }
        assert!(
            !plan.br_netfilter || std::path::Path::new("/proc/sys/net/bridge").exists(),
            "this kernel's netfilter sees no bridged packets, which Services of pods on one bridge need: modprobe br_netfilter"
        );
        for family in ["ip", "ip6"] {
            let setting = format!("net.bridge.bridge-nf-call-{family}tables={}", u8::from(plan.br_netfilter));
            member.sh(&["sysctl", "-qe", "-w", &setting]);
        }
        member.masquerade();
        let bridge = json!({
            "type": "bridge", "bridge": "cni0", "isDefaultGateway": true, "mtu": plan.joined.mtu(),
            "ipam": conf::host_local(&member.pod_cidrs().each_ref().map(String::as_str)),
        });
        member.use_chain(&[conf::with(bridge, plan.keys.clone())]);
        member
    }

    /// The node's addresses on the network of the nodes.
    pub fn addresses(&self) -> [String; 2] {
        [format!("192.0.2.{}", self.number), format!("2001:db8:ffff::{}", self.number)]
    }

    /// The networks of its pods.
    pub fn pod_cidrs(&self) -> [String; 2] {
        [format!("10.244.{}.0/24", self.number), format!("fd00:244:{}::/64", self.number)]
    }

    /// The node's addresses on the bridge.
    pub fn gateways(&self) -> [String; 2] {
        [format!("10.244.{}.1", self.number), format!("fd00:244:{}::1", self.number)]
    }

    /// Makes the chain of these plugins, with portmap after them, the node's pod network.
    pub fn use_chain(&self, plugins: &[Value]) {
        let portmap = json!({ "type": "portmap", "capabilities": { "portMappings": true } });
        let chain: Vec<&Value> = plugins.iter().chain([&portmap]).collect();
        let conflist = json!({ "cniVersion": "1.0.0", "name": NETWORK, "plugins": chain });
        let net_d = self.node.dir().join("net.d");
        make_dir(&net_d);
        write(&net_d.join("10-podnet.conflist"), &conflist.to_string());
    }

    /// A new pod, wired by the node's conflist.
    #[track_caller]
    pub fn wire(&self, name: &str) -> WiredPod {
        self.wire_with(name, &json!({}))
    }

    /// The same, with capability arguments such as `portMappings` for the plugins that declare them.
    #[track_caller]
    pub fn wire_with(&self, name: &str, asked: &Value) -> WiredPod {
        let pod = self.node.pod(name);
        let printed = self.cnitool("add", &pod, asked).success();
        let result: Value =
            serde_json::from_str(&printed).unwrap_or_else(|e| panic!("cnitool's result: {e}: {printed}"));
        pod.sh(&["ip", "link", "set", "lo", "up"]);
        let address = |index: usize| -> IpAddr {
            let text =
                result["ips"][index]["address"].as_str().and_then(|net| net.split('/').next()).unwrap_or_default();
            text.parse().unwrap_or_else(|e| panic!("address {index} of pod {name}: {e}: {result}"))
        };
        let addresses = [address(0), address(1)];
        answers(&self.node, &addresses[1].to_string());
        WiredPod { name: name.to_owned(), addresses, result, pod }
    }

    /// Takes the pod off the network and away.
    #[track_caller]
    pub fn unwire(&self, pod: WiredPod) {
        self.cnitool("del", &pod.pod, &json!({})).success();
    }

    /// Loads rules of iptables of one family, beside those that are there.
    #[track_caller]
    pub fn restore(&self, family: usize, rules: &str) {
        let program = ["iptables-restore", "ip6tables-restore"][family];
        self.load(Command::new(crate::need::tool(program)).arg("--noflush"), rules);
    }

    /// Runs a command that reads rules from stdin.
    #[track_caller]
    pub(super) fn load(&self, command: &mut Command, rules: &str) {
        let finished = self.node.finish(command, rules.as_bytes());
        assert!(finished.code == Some(0), "{finished}\nrules:\n{rules}");
    }

    fn cnitool(&self, verb: &str, pod: &Pod, asked: &Value) -> Finished {
        let mut command = Command::new(BinDir::ours().plugin("cnitool"));
        command.env("NETCONFPATH", self.node.dir().join("net.d")).env("CNI_PATH", self.bins.path());
        command.env("CAP_ARGS", asked.to_string());
        self.node.finish(command.args([verb, NETWORK]).arg(&pod.id().netns), b"")
    }

    /// flanneld's rules: pods' packets to the pods of any node keep their source, all others take on the node's address.
    /// They are the node's business, not the bridge plugin's (`ipMasq`), which knows of its own subnet only.
    fn masquerade(&self) {
        for (family, (own, all)) in self.pod_cidrs().iter().zip(CLUSTER_CIDR).enumerate() {
            let multicast = ["224.0.0.0/4", "ff00::/8"][family];
            self.restore(
                family,
                &format!(
                    "*nat\n\
                     :FLANNEL-POSTRTG - [0:0]\n\
                     -A POSTROUTING -j FLANNEL-POSTRTG\n\
                     -A FLANNEL-POSTRTG -m mark --mark 0x4000/0x4000 -j RETURN\n\
                     -A FLANNEL-POSTRTG -s {own} -d {all} -j RETURN\n\
                     -A FLANNEL-POSTRTG -s {all} -d {own} -j RETURN\n\
                     -A FLANNEL-POSTRTG ! -s {all} -d {own} -j RETURN\n\
                     -A FLANNEL-POSTRTG -s {all} ! -d {multicast} -j MASQUERADE --random-fully\n\
                     -A FLANNEL-POSTRTG ! -s {all} -d {all} -j MASQUERADE --random-fully\n\
                     COMMIT\n"
                ),
            );
        }
    }
}

impl Deref for Member {
    type Target = Node;

    fn deref(&self) -> &Node {
        &self.node
    }
}

/// Waits until an IPv6 address answers. The kernel has it join the group in which neighbours look for it in a work queue of the
/// whole machine, which on a busy one may take longer than a connection is waited for.
#[track_caller]
pub(super) fn answers(from: &Namespace, address: &str) {
    from.sh(&["ping", "-n", "-q", "-c", "1", "-w", "50", address]);
}

/// A pod on the cluster's network.
#[derive(Debug)]
pub struct WiredPod {
    /// Its name.
    pub name: String,
    /// Its IPv4 and its IPv6 address.
    pub addresses: [IpAddr; 2],
    /// What the plugins answered.
    pub result: Value,
    pod: Pod,
}

impl Deref for WiredPod {
    type Target = Namespace;

    fn deref(&self) -> &Namespace {
        &self.pod
    }
}

impl Joined {
    /// The MTU of a pod's interface.
    fn mtu(self) -> u32 {
        match self {
            Joined::Routes => 1500,
            // 50 bytes for the outer Ethernet, IPv4, UDP and VXLAN headers.
            Joined::Vxlan => 1450,
        }
    }
}
