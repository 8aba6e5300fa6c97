//! Namespaces and links to test with.

use std::thread;

use netlink::{Link, MacAddr, Namespace, Netlink, NewBridge, NewVeth, VethHost, VethPeer};
use nix::sched::{CloneFlags, unshare};

/// A network namespace nobody else knows.
pub fn namespace() -> Namespace {
    thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).expect("these tests make network namespaces: run them as root");
        Namespace::current().unwrap()
    })
    .join()
    .unwrap()
}

/// A node and a pod with nothing in them but `lo`.
pub struct Pair {
    pub node: Namespace,
    pub pod: Namespace,
    pub host: Netlink,
    pub inside: Netlink,
}

pub fn pair() -> Pair {
    let (node, pod) = (namespace(), namespace());
    let (host, inside) = (node.netlink().unwrap(), pod.netlink().unwrap());
    Pair { node, pod, host, inside }
}

pub fn mac(last: u8) -> MacAddr {
    MacAddr::from([0x0a, 0x58, 0, 0, 0, last])
}

pub fn bridge(name: &str) -> NewBridge<'_> {
    NewBridge { name, mac: Some(mac(1)), mtu: None, vlan_filtering: false, up: true }
}

pub fn veth<'a>(name: &'a str, master: Option<u32>, peer: &'a str, namespace: &'a Namespace) -> NewVeth<'a> {
    NewVeth {
        host: VethHost { name, mac: Some(mac(2)), mtu: None, master, up: true },
        peer: VethPeer { name: peer, mac: Some(mac(3)), mtu: None, namespace },
    }
}

/// A link that must be there.
pub fn link(netlink: &Netlink, name: &str) -> Link {
    netlink.link(name).unwrap().unwrap_or_else(|| panic!("no interface {name}"))
}

/// A pod wired to a bridge, both ends up: the indices of the host's end and the pod's.
pub fn wired(pair: &Pair) -> (u32, u32) {
    pair.host.create_bridge(&bridge("cni0")).unwrap();
    let master = link(&pair.host, "cni0").index;
    pair.host.create_veth(&veth("veth0", Some(master), "eth0", &pair.pod)).unwrap();
    let inside = link(&pair.inside, "eth0").index;
    pair.inside.change_link(inside, &up()).unwrap();
    (link(&pair.host, "veth0").index, inside)
}

pub fn up() -> netlink::LinkChange {
    netlink::LinkChange { up: Some(true), ..Default::default() }
}
