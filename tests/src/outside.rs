//! A host beyond the node: what a pod's packets reach after they have left it.

use std::ops::Deref;

use crate::{Namespace, Node, Pod};

/// The node's uplink, an end of a veth pair.
pub const UPLINK: &str = "up0";
/// The node's addresses on it.
pub const NODE: [&str; 2] = ["192.0.2.1", "2001:db8:ffff::1"];
/// The outside host's addresses.
pub const OUTSIDE: [&str; 2] = ["192.0.2.2", "2001:db8:ffff::2"];

/// A network namespace connected to the node's `up0`. It knows no route to any pod, as a host on the internet does not.
#[derive(Debug)]
pub struct Outside {
    host: Pod,
}

impl Outside {
    /// A host connected to `node`, which gets its default routes through it.
    pub fn of(node: &Node) -> Outside {
        // A pod is a namespace with a path, which is what `ip` wants to be told of the far end.
        let host = node.pod("outside");
        host.sh(&["ip", "link", "set", "lo", "up"]);
        node.sh(&["ip", "link", "add", UPLINK, "type", "veth", "peer", "name", "eth0", "netns", "outside"]);
        for (place, link, addresses) in [(&**node, UPLINK, NODE), (&*host, "eth0", OUTSIDE)] {
            place.sh(&["ip", "addr", "add", &format!("{}/24", addresses[0]), "dev", link]);
            place.sh(&["ip", "addr", "add", &format!("{}/64", addresses[1]), "dev", link, "nodad"]);
            place.sh(&["ip", "link", "set", link, "up"]);
        }
        for gateway in OUTSIDE {
            node.sh(&["ip", "route", "add", "default", "via", gateway]);
        }
        Outside { host }
    }
}

impl Deref for Outside {
    type Target = Namespace;

    fn deref(&self) -> &Namespace {
        &self.host
    }
}
