//! How nodes reach each other's pods: by plain routes, or by a tunnel.

use super::Member;

/// The way between the nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Joined {
    /// A route to each PodCIDR through its node (flannel's `host-gw`, kubenet's cloud routes).
    Routes,
    /// A VXLAN device for each family with everything it needs to know written down, nothing learned (flannel's `vxlan`).
    Vxlan,
}

/// flanneld's names of its devices.
pub const DEVICES: [&str; 2] = ["flannel.1", "flannel-v6.1"];
/// The headers around an inner frame: Ethernet 14, UDP 8, VXLAN 8, and IPv4 20 or IPv6 40.
const OVERHEAD: [u32; 2] = [50, 70];

impl Joined {
    /// Tells `node` where the pods of every other node are.
    pub(super) fn join(self, node: &Member, all: &[Member]) {
        match self {
            Joined::Routes => {
                for peer in others(node, all) {
                    for (pods, via) in peer.pod_cidrs().iter().zip(peer.addresses()) {
                        node.sh(&["ip", "route", "add", pods, "via", &via]);
                    }
                }
            }
            Joined::Vxlan => (0..2).for_each(|family| tunnel(family, node, all)),
        }
    }
}

/// The device's MAC follows from the node's number: flanneld finds it in the cluster's store.
fn mac(number: usize) -> String {
    format!("02:f1:00:00:00:{number:02x}")
}

/// The address of a node's device: the first of its PodCIDR.
fn inner(number: usize) -> [String; 2] {
    [format!("10.244.{number}.0"), format!("fd00:244:{number}::")]
}

fn tunnel(family: usize, node: &Member, all: &[Member]) {
    let device = DEVICES[family];
    let mtu = (1500 - OVERHEAD[family]).to_string();
    let local = &node.addresses()[family];
    let vxlan = ["type", "vxlan", "id", "1", "dev", "eth0", "local", local, "dstport", "8472", "nolearning"];
    node.sh(&[&["ip", "link", "add", device, "address", &mac(node.number), "mtu", &mtu][..], &vxlan].concat());
    let own = format!("{}/{}", inner(node.number)[family], [32, 128][family]);
    let mut address = vec!["ip", "addr", "add", &own, "dev", device];
    // `ip` rejects it for IPv4, which has no duplicate detection.
    address.extend(["nodad"].iter().take(family));
    node.sh(&address);
    node.sh(&["ip", "link", "set", device, "up"]);
    for peer in others(node, all) {
        let (inner, mac) = (&inner(peer.number)[family], mac(peer.number));
        node.sh(&["ip", "route", "add", &peer.pod_cidrs()[family], "via", inner, "dev", device, "onlink"]);
        node.sh(&["ip", "neigh", "add", inner, "lladdr", &mac, "dev", device, "nud", "permanent"]);
        node.sh(&["bridge", "fdb", "append", &mac, "dev", device, "dst", &peer.addresses()[family]]);
    }
}

fn others<'a>(node: &'a Member, all: &'a [Member]) -> impl Iterator<Item = &'a Member> {
    all.iter().filter(|peer| peer.number != node.number)
}
