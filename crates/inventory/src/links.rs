//! The node's interfaces and who owns them.

use std::collections::HashMap;

use netlink::{Link, LinkKind, Namespace, Netlink};
use pod::Owner;

use crate::error::Error;
use crate::evidence::{Carrier, LinkState};
use crate::namespaces::Namespaces;

/// The interfaces of the calling thread's network namespace.
#[derive(Debug)]
pub struct Links {
    by_name: HashMap<String, Link>,
}

/// An interface that podlink made for an attachment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnedLink {
    /// Its name.
    pub name: String,
    /// Its index, which no other interface gets while it lives.
    pub index: u32,
    /// `veth` or `ifb`.
    pub kind: String,
    /// Whose it is.
    pub owner: Owner,
}

impl Links {
    /// Lists them.
    ///
    /// # Errors
    /// [`Error::Links`].
    pub fn read() -> Result<Links, Error> {
        let links = Netlink::new().and_then(|netlink| netlink.links()).map_err(Error::Links)?;
        Ok(Links { by_name: links.into_iter().map(|link| (link.name.clone(), link)).collect() })
    }

    /// Those that name an owner and are of a kind that belongs to one pod, by name.
    pub fn owned(&self) -> Vec<OwnedLink> {
        let mut owned: Vec<_> = self.by_name.values().filter_map(owned).collect();
        owned.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        owned
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &Link> {
        self.by_name.values()
    }

    /// The node's end of an attachment's pair. Where the network's pods have none that podlink made, `is_expected` is
    /// false, and that there is none says nothing.
    pub fn state(&self, owner: &Owner, namespaces: &Namespaces, is_expected: bool) -> LinkState {
        let name = owner.host_name();
        match self.by_name.get(&name) {
            Some(link) if link.is_veth() && !is_of_another(link, owner) => state(link, namespaces),
            Some(_) => LinkState::Unknown,
            None if is_expected => LinkState::Gone { name },
            None => LinkState::Unknown,
        }
    }

    /// The node's end of a pair by the name that a runtime recorded; `None` where there is none.
    pub fn recorded(&self, name: &str, namespaces: &Namespaces) -> Option<LinkState> {
        self.by_name.get(name).filter(|link| link.is_veth()).map(|link| state(link, namespaces))
    }
}

fn state(link: &Link, namespaces: &Namespaces) -> LinkState {
    let name = link.name.clone();
    let candidates = link.peer_index.map(|peer| namespaces.far_ends(link.index, peer)).unwrap_or_default();
    match candidates.iter().find(|candidate| is_there(candidate, link)) {
        Some(peer) => LinkState::Paired { name, peer: peer.clone() },
        None => LinkState::Alone { name },
    }
}

/// Whether the far end of the node's `link` is in the namespace of `candidate`: their indices are those of other pairs, too, where
/// several nodes share a machine. What the kernel does not tell may be so.
fn is_there(candidate: &Carrier, link: &Link) -> bool {
    let id = Netlink::new().and_then(|node| node.id_of(&Namespace::open(&candidate.namespace)?));
    id.map_or(true, |id| id == link.peer_netnsid)
}

/// Whose an interface says it is.
pub fn owner_of(link: &Link) -> Option<Owner> {
    link.alias.as_deref().and_then(Owner::from_alias)
}

fn is_of_another(link: &Link, owner: &Owner) -> bool {
    owner_of(link).is_some_and(|of| of != *owner)
}

fn owned(link: &Link) -> Option<OwnedLink> {
    let belongs_to_a_pod = link.is_veth() || link.kind == LinkKind::Other("ifb".to_owned());
    let owner = owner_of(link).filter(|_| belongs_to_a_pod)?;
    Some(OwnedLink { name: link.name.clone(), index: link.index, kind: link.kind.to_string(), owner })
}
