//! The firewall plugin: what passes and what does not, seen by packets; and that its rules are found again and removed.

mod drift;
mod fences;
mod packets;
mod reference;
mod storms;
mod verbs;
mod without_nf_tables;

use std::net::IpAddr;
use std::process::Command;

use podlink_tests::{Call, Namespace, Node, Outside, Pod, conf, need};
use serde_json::{Value, json};

const V4: &str = "10.1.0.0/24";

const V6: &str = "fd00:1::/64";

/// What the config may say; the third is that nothing is said, on a node where nothing but us filters.
const BACKENDS: [&str; 3] = ["nftables", "iptables", ""];

/// The network that has the bridge `bridge`, and what its pods' firewall is told.
#[derive(Clone)]
struct Net {
    bridge: Value,
    firewall: Value,
}

impl Net {
    fn new(firewall: Value) -> Net {
        Net::on("cni0", &[V4, V6], firewall)
    }

    fn on(bridge: &str, subnets: &[&str], firewall: Value) -> Net {
        let keys = json!({ "name": format!("net-{bridge}"), "bridge": bridge, "isDefaultGateway": true });
        let name = json!({ "cniVersion": "1.1.0", "name": format!("net-{bridge}"), "type": "firewall" });
        Net { bridge: conf::gateway(subnets, keys), firewall: conf::with(name, firewall) }
    }

    /// Gives the pod its interface, and returns the result.
    #[track_caller]
    fn wire(&self, node: &Node, pod: &Pod) -> Value {
        let result = node.typed(&self.bridge).pod(pod).add().success();
        (0..2).for_each(|index| node.ping(address(&result, index)));
        result
    }

    /// A call of our firewall about a pod with this result.
    fn call<'n>(&self, node: &'n Node, pod: &Pod, result: &Value) -> Call<'n> {
        node.typed(&self.firewall).pod(pod).prev_result(result)
    }

    /// A pod with an interface and with its firewall rules.
    #[track_caller]
    fn attach<'n>(&self, node: &'n Node, name: &str) -> Member<'n> {
        let pod = node.pod(name);
        let result = self.wire(node, &pod);
        let call = self.call(node, &pod, &result);
        assert_eq!(call.add().success(), result, "the previous result is passed on");
        Member { pod, result, call }
    }
}

struct Member<'n> {
    pod: Pod,
    result: Value,
    call: Call<'n>,
}

impl Member<'_> {
    fn v4(&self) -> IpAddr {
        address(&self.result, 0)
    }

    fn v6(&self) -> IpAddr {
        address(&self.result, 1)
    }
}

fn address(result: &Value, index: usize) -> IpAddr {
    let text = result["ips"][index]["address"].as_str().unwrap_or_default();
    parse(text.split('/').next().unwrap_or_default())
}

fn parse(address: &str) -> IpAddr {
    address.parse().unwrap_or_else(|e| panic!("{address:?}: {e}"))
}

/// Whether an echo request sent from here is answered.
#[track_caller]
fn reaches(from: &Namespace, to: IpAddr) -> bool {
    // Time enough for a first neighbour solicitation that is lost.
    answered(from, to, "5")
}

/// Whether none is. Of use only after the ends have reached the node: what is slow must not pass for what is dropped.
#[track_caller]
fn cut_off(from: &Namespace, to: IpAddr) -> bool {
    !answered(from, to, "1")
}

#[track_caller]
fn answered(from: &Namespace, to: IpAddr, seconds: &str) -> bool {
    let mut ping = Command::new(need::tool("ping"));
    let finished = from.finish(ping.args(["-n", "-c", "1", "-W", seconds, &to.to_string()]), b"");
    match finished.code {
        Some(0) => true,
        Some(1) => false,
        _ => panic!("{finished}"),
    }
}

/// A host beyond the node that knows the way to the pods.
fn outside_of(node: &Node) -> Outside {
    let outside = Outside::of(node);
    for (network, via) in [("10.0.0.0/8", 0), ("fd00::/16", 1)] {
        outside.sh(&["ip", "route", "add", network, "via", podlink_tests::outside::NODE[via]]);
        node.ping(outside_address(via));
    }
    outside
}

fn outside_address(index: usize) -> IpAddr {
    parse(podlink_tests::outside::OUTSIDE[index])
}

/// The elements of one of our sets with their owners, as nft lists them; none where there is no such set.
fn elements(node: &Node, family: &str, set: &str) -> Vec<Value> {
    let mut nft = Command::new(need::tool("nft"));
    let listed = node.finish(nft.args(["-j", "list", "set", family, "podlink_filter", set]), b"");
    if listed.code != Some(0) {
        return Vec::new();
    }
    let listed: Value = serde_json::from_str(&listed.stdout).unwrap_or_default();
    let mut objects = listed["nftables"].as_array().into_iter().flatten();
    let set = objects.find_map(|object| object.get("set"));
    set.and_then(|set| set["elem"].as_array()).cloned().unwrap_or_default()
}

/// Every element of every set of ours.
fn all_elements(node: &Node) -> Vec<Value> {
    let sets = ["pods4", "pods6", "members", "fenced", "same_bridge", "isolated"].map(|set| ("inet", set));
    let sets = sets.into_iter().chain([("bridge", "isolated")]);
    sets.flat_map(|(family, set)| elements(node, family, set)).collect()
}

/// iptables of one make: the programs by their own names, and a PATH in which they are the default.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Make {
    Nft,
    Legacy,
}

impl Make {
    fn sh(self, node: &Node, family: &str, line: &[&str]) -> String {
        let program = match self {
            Make::Nft => format!("{family}-nft"),
            Make::Legacy => format!("{family}-legacy"),
        };
        node.sh(&[&[program.as_str(), "-w"], line].concat())
    }

    /// The rules of a chain of the filter table; none where there is no such chain.
    fn rules(self, node: &Node, family: &str, chain: &str) -> Vec<String> {
        let program = match self {
            Make::Nft => format!("{family}-nft-save"),
            Make::Legacy => format!("{family}-legacy-save"),
        };
        let saved = node.sh(&[&program, "-t", "filter"]);
        saved.lines().filter_map(|line| line.strip_prefix(&format!("-A {chain} "))).map(str::to_owned).collect()
    }

    /// The call with this make as the node's default.
    fn of<'n>(self, node: &Node, call: Call<'n>) -> Call<'n> {
        let multi = match self {
            Make::Nft => "/usr/sbin/xtables-nft-multi",
            Make::Legacy => "/usr/sbin/xtables-legacy-multi",
        };
        let dir = node.dir().join("iptables");
        std::fs::create_dir_all(&dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
        for name in
            ["", "-save", "-restore"].iter().flat_map(|end| [format!("iptables{end}"), format!("ip6tables{end}")])
        {
            // Made by whoever is first.
            let _ = std::os::unix::fs::symlink(multi, dir.join(name));
        }
        call.env("PATH", format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", dir.display()))
    }
}
