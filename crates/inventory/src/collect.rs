//! Removing what is dead, and nothing else.
//!
//! What is to be removed has been judged twice: once to find it, and once more with the network's addresses locked, so
//! that no ADD of the same attachment can come in between: it waits for its address until the removal is done.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::Path;

use cni::Attachment;
use netlink::Netlink;

use crate::error::Error;
use crate::network::{Places, ReadPool};
use crate::survey::{Held, Survey};
use crate::verdict::{Judgement, Verdict};

/// Runs a plugin's DEL for what it made for an attachment of a network: plugin, network, attachment. Given by the caller,
/// because nothing here depends on a plugin.
pub type RunDel<'a> = &'a dyn Fn(&str, &str, &Attachment) -> Result<(), cni::Error>;

/// Something that is dead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dead {
    /// What it is.
    pub thing: Thing,
    /// The network it belongs to.
    pub network: String,
    /// The container ID; empty where nobody can be made out.
    pub container_id: String,
    /// The pod's interface; empty where that is not recorded.
    pub ifname: String,
    /// Why it is dead.
    pub judgement: Judgement,
}

/// The kinds of things that are removed, in the order of removal: an address last, since it must not be given to another
/// pod while anything of the first is there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Thing {
    /// Rules, by the DEL of the plugin that made them.
    Rules {
        /// Its type.
        plugin: &'static str,
        /// The table.
        place: String,
        /// How many.
        count: usize,
    },
    /// An interface on the node.
    Link {
        /// Its name.
        name: String,
        /// Its kind.
        kind: String,
        /// Its index.
        index: u32,
    },
    /// A reserved address.
    Address {
        /// The address.
        address: IpAddr,
        /// Its file.
        file: std::path::PathBuf,
    },
}

impl std::fmt::Display for Thing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Thing::Rules { place, count, .. } => write!(f, "{count} rules in {place}"),
            Thing::Link { name, kind, .. } => write!(f, "{kind} {name}"),
            Thing::Address { address, .. } => write!(f, "address {address}"),
        }
    }
}

/// What became of something dead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removal {
    /// What it was.
    pub dead: Dead,
    /// `Ok` when it is gone; else why not.
    pub outcome: Result<(), String>,
}

impl Survey {
    /// Everything that has this verdict, by network and owner.
    pub fn with_verdict(&self, wanted: Verdict) -> Vec<Dead> {
        let rules = self.rules.iter().map(|(rules, judgement)| {
            let thing = Thing::Rules { plugin: rules.plugin, place: rules.place.clone(), count: rules.count };
            (thing, rules.owner.network.as_str(), names(&rules.owner.attachment), judgement)
        });
        let links = self.links.iter().map(|(link, judgement)| {
            let thing = Thing::Link { name: link.name.clone(), kind: link.kind.clone(), index: link.index };
            (thing, link.owner.network.as_str(), names(&link.owner.attachment), judgement)
        });
        let addresses = self.addresses().map(|(network, held)| {
            let reservation = &held.reservation;
            let thing = Thing::Address { address: reservation.address, file: reservation.file.clone() };
            (thing, network.name.as_str(), held.holder(), &held.judgement)
        });
        let all = rules.chain(links).chain(addresses).filter(|(.., judgement)| judgement.verdict == wanted);
        let mut found: Vec<_> = all
            .map(|(thing, network, (container_id, ifname), judgement)| Dead {
                thing,
                network: network.to_owned(),
                container_id: container_id.to_owned(),
                ifname: ifname.to_owned(),
                judgement: judgement.clone(),
            })
            .collect();
        found.sort_by(|a, b| {
            (&a.network, &a.thing, &a.container_id, &a.ifname).cmp(&(&b.network, &b.thing, &b.container_id, &b.ifname))
        });
        found
    }
}

fn names(attachment: &Attachment) -> (&str, &str) {
    (&attachment.container_id, &attachment.ifname)
}

/// Removes all that is dead on the node, and goes on after failures.
///
/// # Errors
/// When nothing can be said: see [`Error`]. What could not be removed says so in its [`Removal`].
pub fn collect(places: &Places, read: ReadPool, del: RunDel<'_>) -> Result<(Vec<Removal>, Vec<String>), Error> {
    let first = Survey::take(places, read, None)?;
    let (mut removals, mut problems) = (Vec::new(), first.problems.clone());
    let mut by_network: BTreeMap<String, Vec<Dead>> = BTreeMap::new();
    for dead in first.with_verdict(Verdict::Dead) {
        by_network.entry(dead.network.clone()).or_default().push(dead);
    }
    for (network, candidates) in by_network {
        match collect_network(places, read, del, &first, &network, candidates) {
            Ok(done) => removals.extend(done),
            Err(error) => problems.push(format!("network {network:?} was left alone: {error}")),
        }
    }
    Ok((removals, problems))
}

fn collect_network(
    places: &Places,
    read: ReadPool,
    del: RunDel<'_>,
    first: &Survey,
    network: &str,
    candidates: Vec<Dead>,
) -> Result<Vec<Removal>, Error> {
    let _locks = lock_all(first, network)?;
    let second = Survey::take(places, read, Some(network))?;
    let now = second.with_verdict(Verdict::Dead);
    let still_dead: HashSet<_> = now.iter().map(identity).collect();
    let (before, after) = (by_file(first), by_file(&second));
    let mut confirmed = candidates.into_iter().filter(|dead| {
        // Given out again between the two looks, it would be another reservation of the same address.
        let is_same = match &dead.thing {
            Thing::Address { file, .. } => before
                .get(file.as_path())
                .zip(after.get(file.as_path()))
                .is_some_and(|(before, after)| before.is_same(after)),
            _ => true,
        };
        is_same && still_dead.contains(&identity(dead))
    });
    Ok(remove(&mut confirmed, del))
}

/// The locks of all stores of a network, in the order of their directories.
pub(crate) fn lock_all(survey: &Survey, network: &str) -> Result<Vec<ipam::Lock>, Error> {
    let of_network = survey.networks.iter().map(|(of, _)| of).filter(|of| of.name == network);
    let stores: BTreeMap<_, _> = of_network.map(|of| (of.store.dir(), &of.store)).collect();
    Ok(stores.values().filter_map(|store| store.lock().transpose()).collect::<Result<_, _>>()?)
}

fn identity(dead: &Dead) -> (&Thing, &str, &str) {
    (&dead.thing, &dead.container_id, &dead.ifname)
}

fn by_file(survey: &Survey) -> HashMap<&Path, &Held> {
    survey.addresses().map(|(_, held)| (held.reservation.file.as_path(), held)).collect()
}

/// Removes one after the other; of an attachment that something could not be removed of, the address stays.
fn remove(dead: &mut dyn Iterator<Item = Dead>, del: RunDel<'_>) -> Vec<Removal> {
    let mut removals: Vec<Removal> = Vec::new();
    let mut run = BTreeMap::new();
    let mut left: HashMap<String, String> = HashMap::new();
    for dead in dead {
        let blocker = left.get(&dead.container_id).filter(|_| matches!(dead.thing, Thing::Address { .. }));
        let outcome = match blocker {
            Some(thing) => Err(format!("left, because of {thing}, which could not be removed")),
            None => remove_one(&dead, del, &mut run),
        };
        if outcome.is_err() {
            left.entry(dead.container_id.clone()).or_insert_with(|| dead.thing.to_string());
        }
        removals.push(Removal { dead, outcome });
    }
    removals
}

/// One DEL removes all that its plugin made for the attachment, in however many places.
pub(crate) type Run = BTreeMap<(&'static str, String, String), Result<(), String>>;

pub(crate) fn remove_one(dead: &Dead, del: RunDel<'_>, run: &mut Run) -> Result<(), String> {
    match &dead.thing {
        Thing::Rules { plugin, .. } => {
            let key = (*plugin, dead.container_id.clone(), dead.ifname.clone());
            let call = || {
                // Where rules do not name the interface their DEL does not look at it, but wants one.
                let ifname = if dead.ifname.is_empty() { "eth0" } else { &dead.ifname };
                let attachment = Attachment { container_id: dead.container_id.clone(), ifname: ifname.to_owned() };
                del(plugin, &dead.network, &attachment).map_err(|error| error.to_string())
            };
            run.entry(key).or_insert_with(call).clone()
        }
        Thing::Link { index, .. } => {
            let deleted = Netlink::new().and_then(|netlink| netlink.delete_link(*index));
            deleted.map(drop).map_err(|error| error.to_string())
        }
        Thing::Address { file, .. } => match fs::remove_file(file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(format!("cannot remove {}: {error}", file.display()))
            }
            _ => Ok(()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dead(thing: Thing, container_id: &str) -> Dead {
        let judgement = Judgement { verdict: Verdict::Dead, proofs: Vec::new(), signs: Vec::new() };
        Dead { thing, network: "net".into(), container_id: container_id.into(), ifname: "eth0".into(), judgement }
    }

    #[test]
    fn an_address_stays_while_rules_of_its_holder_do() {
        let dir = tempfile::tempdir().unwrap();
        let address = |name: &str| {
            let file = dir.path().join(name);
            fs::write(&file, "").unwrap();
            Thing::Address { address: name.parse().unwrap(), file }
        };
        let rules = |place: &str| Thing::Rules { plugin: "portmap", place: place.into(), count: 1 };
        let all = [
            dead(rules("inet a"), "c1"),
            dead(rules("inet b"), "c1"),
            dead(rules("inet a"), "c2"),
            dead(address("10.1.0.2"), "c1"),
            dead(address("10.1.0.3"), "c2"),
        ];
        let calls = std::cell::Cell::new(0);
        let del = |_: &str, _: &str, attachment: &Attachment| {
            calls.set(calls.get() + 1);
            let error = cni::Error::new(cni::ErrorCode::INTERNAL, "no");
            if attachment.container_id == "c1" { Err(error) } else { Ok(()) }
        };
        let removals = remove(&mut all.into_iter(), &del);
        let outcomes: Vec<_> = removals.iter().map(|removal| removal.outcome.is_ok()).collect();
        assert_eq!(outcomes, [false, false, true, false, true]);
        assert_eq!(calls.get(), 2, "one DEL for an attachment and plugin");
        assert!(dir.path().join("10.1.0.2").exists() && !dir.path().join("10.1.0.3").exists());
    }
}
