//! What addresses and interfaces all network namespaces have.
//!
//! Each is read once, whatever its paths ([`Paths`]).

mod paths;

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use ipnetwork::IpNetwork;
use netlink::Namespace;
use pod::Owner;

use crate::error::Error;
use crate::evidence::{Carrier, Scan};
use paths::{Identity, Paths, identity};

/// `RT_SCOPE_UNIVERSE`.
const UNIVERSE: u8 = 0;

/// What all namespaces have.
#[derive(Debug, Default)]
pub struct Namespaces {
    addresses: HashMap<IpAddr, Carrier>,
    /// By own index and the far end's: the pods' ends of veth pairs.
    ends: HashMap<(u32, u32), Vec<Carrier>>,
    /// What an interface has: not of ports, and not what is good on its own link only.
    networks: HashMap<Carrier, Vec<IpNetwork>>,
    /// The path of the calling thread's own.
    own: Option<PathBuf>,
    read: usize,
    unread: Vec<String>,
}

impl Namespaces {
    /// Reads every namespace that can be reached.
    ///
    /// # Errors
    /// [`Error::Proc`] where they cannot be listed. One that cannot be read only makes the scan incomplete.
    pub fn read() -> Result<Namespaces, Error> {
        let mut all = Namespaces::default();
        let own = identity(Path::new("/proc/thread-self/ns/net")).ok();
        let paths = Paths::find()?;
        all.unread.extend(paths.hidden());
        for (id, paths) in paths.found {
            // When no path leads there any more it ended, and what it had with it.
            match paths.iter().find_map(|path| open(path, id).transpose()) {
                Some(Ok(namespace)) => match all.visit(&namespace, Some(id) == own) {
                    Ok(()) => all.read += 1,
                    Err(error) => all.unread.push(error.to_string()),
                },
                Some(Err(error)) => all.unread.push(error.to_string()),
                None => {}
            }
        }
        Ok(all)
    }

    fn visit(&mut self, namespace: &Namespace, is_own: bool) -> Result<(), netlink::Error> {
        let (path, netlink) = (namespace.path(), namespace.netlink()?);
        if is_own {
            self.own = Some(path.to_owned());
        }
        for link in netlink.links()? {
            let carrier = || Carrier { namespace: path.to_owned(), ifname: link.name.clone() };
            // Indices are numbers of a namespace: one with a node's ends in it has the same ones for other pairs.
            let is_nodes_end = link.alias.as_deref().is_some_and(|alias| Owner::from_alias(alias).is_some());
            if let Some(peer) = link.peer_index
                && link.peer_netnsid.is_some()
                && !is_own
                && !is_nodes_end
            {
                self.ends.entry((link.index, peer)).or_default().push(carrier());
            }
            // A port has no addresses of its own, and the node has hundreds.
            if link.master.is_some() {
                continue;
            }
            match netlink.addresses(link.index) {
                Ok(addresses) => {
                    for address in addresses {
                        if address.scope == UNIVERSE {
                            self.networks.entry(carrier()).or_default().push(address.network);
                        }
                        self.addresses.entry(address.network.ip()).or_insert_with(carrier);
                    }
                }
                // It went away meanwhile.
                Err(netlink::Error::NotFound(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// A namespace that has the address.
    pub fn carrier(&self, address: IpAddr) -> Option<&Carrier> {
        self.addresses.get(&address)
    }

    /// What may be the pod's end of the node's link with this index and this far end's index, by numbers alone.
    pub fn far_ends(&self, index: u32, peer: u32) -> &[Carrier] {
        self.ends.get(&(peer, index)).map(Vec::as_slice).unwrap_or_default()
    }

    /// The addresses of an interface with their prefix lengths, but those of its link alone.
    pub fn networks(&self, carrier: &Carrier) -> &[IpNetwork] {
        self.networks.get(carrier).map(Vec::as_slice).unwrap_or_default()
    }

    /// The addresses of an interface of the calling thread's own namespace.
    pub fn own_networks(&self, ifname: &str) -> &[IpNetwork] {
        let Some(own) = &self.own else { return &[] };
        self.networks(&Carrier { namespace: own.clone(), ifname: ifname.to_owned() })
    }

    /// How far "nowhere" can be trusted.
    pub fn scan(&self) -> Scan {
        Scan { read: self.read, complete: self.unread.is_empty() }
    }

    /// Why namespaces could not be read.
    pub fn unread(&self) -> &[String] {
        &self.unread
    }
}

/// The namespace, where the path still leads to it: a process may end or go elsewhere, and a mount be replaced.
fn open(path: &Path, id: Identity) -> Result<Option<Namespace>, netlink::Error> {
    match Namespace::open(path) {
        Ok(namespace) => Ok((namespace.identity()? == id).then_some(namespace)),
        Err(netlink::Error::NamespaceGone { .. } | netlink::Error::NotANamespace { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
