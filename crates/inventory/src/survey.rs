//! The whole node looked at once: every address, interface and rule with what is said about it.

use std::collections::HashMap;
use std::fs;
use std::time::{Duration, SystemTime};

use ipam::{Holder, Reservation};
use pod::Owner;

use crate::error::Error;
use crate::evidence::{Content, LinkState, OfAddress, OfOther, RecordState, Reserved};
use crate::links::{Links, OwnedLink};
use crate::namespaces::Namespaces;
use crate::network::{Network, Places, ReadPool, networks};
use crate::records::Records;
use crate::rules::{self, OwnedRules};
use crate::verdict::{self, Judgement, Verdict};

/// What there is on the node.
#[derive(Debug)]
pub struct Survey {
    /// Each network with its addresses.
    pub networks: Vec<(Network, Vec<Held>)>,
    /// The interfaces that podlink made for pods.
    pub links: Vec<(OwnedLink, Judgement)>,
    /// The rules that name their owner.
    pub rules: Vec<(OwnedRules, Judgement)>,
    /// What could not be read. What follows from it is unknown.
    pub problems: Vec<String>,
    pub(crate) node: Node,
}

/// A reserved address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The reservation.
    pub reservation: Reservation,
    /// When its file was written.
    pub written: Option<SystemTime>,
    /// How long ago that was; `None` where the clock has been set back since.
    pub age: Option<Duration>,
    /// What is said about it.
    pub judgement: Judgement,
}

impl Held {
    /// Who has the address, as far as that can be made out: container ID and interface, either may be empty.
    pub fn holder(&self) -> (&str, &str) {
        match &self.reservation.holder {
            Holder::Attachment(attachment) => (attachment.container_id(), attachment.ifname()),
            Holder::Container(id) => (id, ""),
            Holder::Nobody | Holder::Foreign(_) => ("", ""),
        }
    }

    /// Whether this and `other` are one and the same reservation.
    pub(crate) fn is_same(&self, other: &Held) -> bool {
        self.reservation == other.reservation && self.written == other.written
    }
}

impl Survey {
    /// Takes it. `only` leaves out what is of other networks.
    ///
    /// # Errors
    /// When nothing can be said: see [`Error`].
    pub fn take(places: &Places, read: ReadPool, only: Option<&str>) -> Result<Survey, Error> {
        // In the order in which DEL removes and against the one in which ADD makes: of an ADD under way, whatever is seen
        // here is seen there, too.
        let (rules, mut problems) = rules::read();
        let (records, problem) = Records::read(&places.cache_dir);
        problems.extend(problem);
        let (networks, more) = networks(places, &records, read);
        problems.extend(more);
        let mut seen = Vec::new();
        for network in networks.into_iter().filter(|network| only.is_none_or(|name| network.name == name)) {
            match network.store.list() {
                Ok(reservations) => seen.push((network, reservations)),
                Err(error) => problems.push(error.to_string()),
            }
        }
        let links = Links::read()?;
        let namespaces = Namespaces::read()?;
        problems.extend(namespaces.unread().iter().cloned());
        // Once more: a record is there as soon as its ADD is done, and the first look was before the addresses'.
        let (records, _) = Records::read(&places.cache_dir);
        let node = Node { links, namespaces, records, now: SystemTime::now() };
        Ok(node.judge(seen, rules, only, problems))
    }

    /// All addresses with their networks.
    pub fn addresses(&self) -> impl Iterator<Item = (&Network, &Held)> {
        self.networks.iter().flat_map(|(network, addresses)| addresses.iter().map(move |held| (network, held)))
    }
}

/// What there is beside addresses and rules.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) links: Links,
    pub(crate) namespaces: Namespaces,
    pub(crate) records: Records,
    now: SystemTime,
}

impl Node {
    fn judge(
        self,
        seen: Vec<(Network, Vec<Reservation>)>,
        rules: Vec<OwnedRules>,
        only: Option<&str>,
        problems: Vec<String>,
    ) -> Survey {
        let networks: Vec<_> = seen
            .into_iter()
            .map(|(network, reservations)| {
                let held = reservations.into_iter().filter_map(|one| self.judge_address(&network, one)).collect();
                (network, held)
            })
            .collect();
        let reserved = ReservedBy::new(&networks);
        let is_meant = |owner: &Owner| only.is_none_or(|name| owner.network == name);
        let links = self.links.owned().into_iter().filter(|link| is_meant(&link.owner));
        let links = links.map(|link| {
            let judgement = self.judge_other(&link.owner, &reserved);
            (link, judgement)
        });
        let links = links.collect();
        let rules = rules.into_iter().filter(|rules| is_meant(&rules.owner));
        let rules = rules.map(|rules| {
            let judgement = self.judge_other(&rules.owner, &reserved);
            (rules, judgement)
        });
        let rules = rules.collect();
        Survey { networks, links, rules, problems, node: self }
    }

    /// `None` where the address has been released meanwhile.
    fn judge_address(&self, network: &Network, reservation: Reservation) -> Option<Held> {
        let written = fs::symlink_metadata(&reservation.file).ok()?.modified().ok();
        let age = written.and_then(|written| self.now.duration_since(written).ok());
        let (content, link, record) = match &reservation.holder {
            Holder::Attachment(attachment) => {
                let attachment = cni::Attachment {
                    container_id: attachment.container_id().to_owned(),
                    ifname: attachment.ifname().to_owned(),
                };
                let owner = Owner { network: network.name.clone(), attachment };
                let (link, record) = self.owner(&owner, network.has_named_pairs());
                (Content::Holder, link, record)
            }
            Holder::Container(id) => {
                (Content::Holder, LinkState::Unknown, self.records.state_of_container(&network.name, id))
            }
            Holder::Nobody => (Content::Damaged, LinkState::Unknown, RecordState::NotKept),
            Holder::Foreign(_) => (Content::Foreign, LinkState::Unknown, RecordState::NotKept),
        };
        let judgement = verdict::address(&OfAddress {
            content,
            boot: reservation.boot,
            age,
            carrier: self.namespaces.carrier(reservation.address).cloned(),
            scan: self.namespaces.scan(),
            link,
            record,
        });
        // One that its DEL has released since is no leak.
        if judgement.verdict == Verdict::Dead && fs::symlink_metadata(&reservation.file).is_err() {
            return None;
        }
        Some(Held { reservation, written, age, judgement })
    }

    fn judge_other(&self, owner: &Owner, reserved: &ReservedBy) -> Judgement {
        let (link, record) = if owner.attachment.ifname.is_empty() {
            let (network, container_id) = (&owner.network, &owner.attachment.container_id);
            (LinkState::Unknown, self.records.state_of_container(network, container_id))
        } else {
            self.owner(owner, reserved.has_named_pairs(&owner.network))
        };
        let reserved = reserved.by(owner);
        verdict::other(&OfOther {
            network: owner.network.clone(),
            reserved,
            scan: self.namespaces.scan(),
            link,
            record,
        })
    }

    /// The pair and the record of an owner.
    fn owner(&self, owner: &Owner, has_named_pairs: bool) -> (LinkState, RecordState) {
        let record = self.records.state(owner);
        let link = self.links.state(owner, &self.namespaces, has_named_pairs);
        let is_absent = matches!(link, LinkState::Gone { .. } | LinkState::Unknown);
        if !is_absent || !matches!(record, RecordState::NamespaceGone { .. }) {
            return (link, record);
        }
        // Another plugin's pair, whose name only the result tells. It counts only for life.
        let recorded = self.records.node_interfaces(owner);
        let pair = recorded.iter().find_map(|name| self.links.recorded(name, &self.namespaces));
        (pair.unwrap_or(link), record)
    }
}

/// What the owners of the networks' addresses have, for judging the rest.
struct ReservedBy<'a> {
    by_owner: HashMap<(&'a str, &'a str, &'a str), Reserved>,
    networks: HashMap<&'a str, bool>,
}

impl<'a> ReservedBy<'a> {
    fn new(networks: &'a [(Network, Vec<Held>)]) -> ReservedBy<'a> {
        let mut by_owner: HashMap<_, Reserved> = HashMap::new();
        let mut named = HashMap::new();
        for (network, addresses) in networks {
            let is_configured = network.plugin.is_some();
            if is_configured {
                *named.entry(network.name.as_str()).or_insert(true) &= network.has_named_pairs();
            }
            for held in addresses {
                let (container_id, ifname) = held.holder();
                let text = held.reservation.address.to_string();
                // A rule may name the container alone.
                let alone = Some("").filter(|_| !ifname.is_empty());
                for name in std::iter::once(ifname).chain(alone) {
                    let entry =
                        by_owner.entry((network.name.as_str(), container_id, name)).or_insert(Reserved::Nothing);
                    *entry = std::mem::replace(entry, Reserved::Nothing).and(&text, &held.judgement);
                }
            }
        }
        ReservedBy { by_owner, networks: named }
    }

    fn by(&self, owner: &Owner) -> Reserved {
        let (network, container_id) = (owner.network.as_str(), owner.attachment.container_id.as_str());
        let found = self.by_owner.get(&(network, container_id, owner.attachment.ifname.as_str()));
        let is_ours = self.networks.contains_key(network);
        found.cloned().unwrap_or(if is_ours { Reserved::Nothing } else { Reserved::Unknown })
    }

    fn has_named_pairs(&self, network: &str) -> bool {
        self.networks.get(network).copied().unwrap_or(false)
    }
}
