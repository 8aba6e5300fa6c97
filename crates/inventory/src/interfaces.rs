//! The node's interfaces with their addresses, far ends and limits, as a picture of the node shows them.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use cni::Attachment;
use ipnetwork::IpNetwork;
use netlink::{Family, Handle, Link, LinkKind, Namespace, Netlink, Qdisc};
use pod::Owner;

use crate::evidence::Carrier;
use crate::links::owner_of;
use crate::survey::Survey;

/// The main routing table (`RT_TABLE_MAIN`).
const MAIN: u32 = 254;

/// An interface of the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// `bridge`, `veth`, `ifb`, `loopback`, `physical`, or what the kernel calls it.
    pub kind: String,
    /// Whether it is switched on.
    pub up: bool,
    /// The bridge (bond, VRF) it is a port of.
    pub master: Option<String>,
    /// Its addresses with prefix lengths, but those of its link alone. Ports are not asked for theirs.
    pub addresses: Vec<IpNetwork>,
    /// The routers of the default routes that leave by it.
    pub gateways: Vec<IpAddr>,
    /// The attachment that its alias names.
    pub owner: Option<Owner>,
    /// The other end, where a namespace that was read has it.
    pub peer: Option<Peer>,
    /// How fast packets leave by it; asked for where it has an owner.
    pub limit: Option<Limit>,
}

/// The far end of a veth pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Where it is.
    pub carrier: Carrier,
    /// Its addresses.
    pub addresses: Vec<IpNetwork>,
}

/// How fast packets leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// All of them, in bits per second.
    All(u64),
    /// Some of them: the rate depends on where they come from or go to.
    Some,
}

impl Survey {
    /// The node's interfaces by name, and what could not be read of them.
    ///
    /// Only a picture needs it: one or two questions to the kernel for each pod.
    pub fn interfaces(&self) -> (Vec<Interface>, Vec<String>) {
        let netlink = match Netlink::new() {
            Ok(netlink) => netlink,
            Err(error) => return (Vec::new(), vec![error.to_string()]),
        };
        let mut problems = Vec::new();
        let gateways = gateways(&netlink).unwrap_or_else(|error| {
            problems.push(error.to_string());
            HashMap::new()
        });
        let mut ids = Ids { netlink: &netlink, known: HashMap::new() };
        let names: HashMap<_, _> = self.node.links.all().map(|link| (link.index, link.name.as_str())).collect();
        let mut all = Vec::with_capacity(names.len());
        for link in self.node.links.all() {
            let owner = owner_of(link);
            let limit = owner.as_ref().and_then(|_| match netlink.qdisc(link.index, Handle::ROOT) {
                Ok(found) => found.and_then(|(_, qdisc)| limit(&qdisc)),
                // It went away meanwhile.
                Err(netlink::Error::NotFound(_)) => None,
                Err(error) => {
                    problems.push(error.to_string());
                    None
                }
            });
            all.push(Interface {
                name: link.name.clone(),
                kind: link.kind.to_string(),
                up: link.up,
                master: link.master.and_then(|index| names.get(&index)).map(|name| (*name).to_owned()),
                addresses: if link.kind == LinkKind::Loopback {
                    Vec::new()
                } else {
                    self.node.namespaces.own_networks(&link.name).to_vec()
                },
                gateways: gateways.get(&link.index).cloned().unwrap_or_default(),
                peer: self.peer(link, &mut ids),
                owner,
                limit,
            });
        }
        all.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        (all, problems)
    }

    /// The name that Kubernetes gave the pod, where the runtime said it with its ADD: `namespace/name`.
    pub fn pod_name(&self, network: &str, attachment: &Attachment) -> Option<String> {
        let owner = Owner { network: network.to_owned(), attachment: attachment.clone() };
        let argument = |key| self.node.records.argument(&owner, key);
        Some(format!("{}/{}", argument("K8S_POD_NAMESPACE")?, argument("K8S_POD_NAME")?))
    }

    /// The interface at the other end. The numbers of both ends may be those of another pair, too, of another node-like
    /// namespace: the kernel's number of the namespace tells them apart.
    fn peer(&self, link: &Link, ids: &mut Ids<'_>) -> Option<Peer> {
        let (peer, id) = (link.peer_index.filter(|_| link.is_veth())?, link.peer_netnsid?);
        let ends = self.node.namespaces.far_ends(link.index, peer);
        let carrier = ends.iter().find(|end| ids.of(&end.namespace) == Some(id))?;
        Some(Peer { carrier: carrier.clone(), addresses: self.node.namespaces.networks(carrier).to_vec() })
    }
}

/// The numbers that the node's namespace has for others, each asked for once.
struct Ids<'a> {
    netlink: &'a Netlink,
    known: HashMap<PathBuf, Option<i32>>,
}

impl Ids<'_> {
    /// `None` where there is none, or the namespace is gone.
    fn of(&mut self, path: &Path) -> Option<i32> {
        if let Some(known) = self.known.get(path) {
            return *known;
        }
        let id = Namespace::open(path).and_then(|namespace| self.netlink.id_of(&namespace)).ok().flatten();
        self.known.insert(path.to_owned(), id);
        id
    }
}

fn limit(qdisc: &Qdisc) -> Option<Limit> {
    match qdisc {
        Qdisc::TokenBucket { rate, .. } => Some(Limit::All(rate.bytes_per_second.saturating_mul(8))),
        Qdisc::Htb { .. } => Some(Limit::Some),
        _ => None,
    }
}

/// The default routes of the main table, by interface.
fn gateways(netlink: &Netlink) -> Result<HashMap<u32, Vec<IpAddr>>, netlink::Error> {
    let mut found: HashMap<u32, Vec<IpAddr>> = HashMap::new();
    for family in [Family::V4, Family::V6] {
        for route in netlink.routes(family, Some(MAIN), None)? {
            if let (0, Some(gateway)) = (route.dst.prefix(), route.gateway) {
                found.entry(route.oif).or_default().push(gateway);
            }
        }
    }
    Ok(found)
}
