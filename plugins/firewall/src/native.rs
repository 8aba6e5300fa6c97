//! Our own tables: who owns what, the pods' addresses, and the fences between bridges.
//!
//! With each backend the pods' addresses are recorded here under their owners, so DEL and GC work from ownership alone.
//! Every change is one element of a set; the rules never change.

mod check;
mod tables;

use std::net::{IpAddr, Ipv6Addr};

use nft::{Element, ElementInfo, Error, Key, Nft, Transaction, Value};
use pod::Owner;

use crate::target::{Fence, Target};
use tables::{FENCED, FILTER, ISOLATED, ISOLATED_PORTS, MEMBERS, OWNED, OwnedSet, PODS4, PODS6, SAME_BRIDGE};

/// How often a removal is tried again because the rules changed meanwhile. Each time somebody else got on.
const ATTEMPTS: u32 = 64;
/// In [`MEMBERS`]: the pod's policy is `same-bridge`.
const MEMBER_SAME_BRIDGE: u32 = 1;
/// In [`MEMBERS`]: the pod's policy is `isolated`.
const MEMBER_ISOLATED: u32 = 2;

/// nf_tables of the node.
pub struct Native {
    nft: Nft,
}

/// An element with an owner.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Record {
    set: &'static OwnedSet,
    key: Key,
    owner: Owner,
}

/// A pod's address and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedAddress {
    /// The address.
    pub address: IpAddr,
    /// The pod.
    pub owner: Owner,
}

impl Native {
    /// A socket in the node's network namespace; `None` where the kernel has no nf_tables.
    ///
    /// # Errors
    /// The kernel's.
    pub fn open() -> Result<Option<Native>, Error> {
        let opened = Nft::open().and_then(|mut nft| {
            nft.generation()?;
            Ok(Native { nft })
        });
        match opened {
            Ok(native) => Ok(Some(native)),
            Err(e) if e.is_unsupported() => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// The socket, for looking at other tables.
    pub fn nft(&mut self) -> &mut Nft {
        &mut self.nft
    }

    /// Records the pod and puts up its fence. An address that another pod was known to have is this one's from now on.
    ///
    /// # Errors
    /// The kernel's; [`Error::Unsupported`] where it has not the families or features of the tables.
    pub fn add(&mut self, target: &Target) -> Result<(), Error> {
        let mut first = Transaction::new();
        for (set, elements) in owned(target) {
            first.create_elements(&set.table, set.name, elements);
        }
        share(&mut first, target);
        match self.nft.commit(&first) {
            Err(e) if e.is_exists() || e.is_not_found() => {}
            other => return other,
        }
        // The first pod of the node, an ADD that is repeated, or an address whose last owner was never deleted. The tables
        // are made as if they were not there: another ADD may be doing the same.
        let mut whole = Transaction::new();
        // The administrator may have set a policy, which is to stay.
        let policy = self.nft.chain(&FILTER, tables::FORWARD)?.and_then(|chain| chain.base).map(|base| base.policy);
        tables::make(&mut whole, target.fence.as_ref().is_some_and(|fence| fence.isolated), policy);
        for (set, elements) in owned(target) {
            whole.destroy_elements(&set.table, set.name, elements.clone());
            whole.add_elements(&set.table, set.name, elements);
        }
        share(&mut whole, target);
        self.nft.commit(&whole)
    }

    /// Whether the kernel can have our tables.
    ///
    /// # Errors
    /// The kernel's.
    pub fn works(&mut self) -> Result<bool, Error> {
        self.nft.supports(FILTER.family)
    }

    /// The addresses recorded for pods.
    ///
    /// # Errors
    /// The kernel's.
    pub fn addresses(&mut self) -> Result<Vec<OwnedAddress>, Error> {
        let mut found = Vec::new();
        for set in [&PODS4, &PODS6] {
            found.extend(self.records(set)?.into_iter().filter_map(|record| {
                let address = match record.key.0.first()? {
                    Value::Ipv4(address) => IpAddr::V4(*address),
                    Value::Ipv6(address) => IpAddr::V6(*address),
                    _ => return None,
                };
                Some(OwnedAddress { address, owner: record.owner })
            }));
        }
        Ok(found)
    }

    /// Removes everything whose owner is `gone`, and the fences that no pod needs any more.
    ///
    /// # Errors
    /// The kernel's.
    pub fn remove(&mut self, gone: &dyn Fn(&Owner) -> bool) -> Result<(), Error> {
        for attempt in 1..=ATTEMPTS {
            let generation = self.nft.generation()?;
            let mut records = Vec::new();
            for set in OWNED {
                records.extend(self.records(set)?);
            }
            let (gone, kept): (Vec<Record>, Vec<Record>) = records.into_iter().partition(|record| gone(&record.owner));
            if gone.is_empty() {
                return Ok(());
            }
            let mut tx = Transaction::new();
            for record in &gone {
                tx.destroy_element(&record.set.table, record.set.name, record.key.clone());
            }
            if attempt < ATTEMPTS {
                // A pod that was added since may need a fence that seems needless here.
                tx.if_generation(generation);
                unshare(&mut tx, &gone, &kept);
            }
            match self.nft.commit(&tx) {
                Err(Error::Changed(_)) => {}
                other => return other,
            }
        }
        Ok(())
    }

    fn records(&mut self, set: &'static OwnedSet) -> Result<Vec<Record>, Error> {
        let elements = match self.nft.elements_if_there(&set.table, set.name) {
            Err(e) if e.is_unsupported() => Vec::new(),
            other => other?,
        };
        Ok(elements.iter().filter_map(|element| record(set, element)).collect())
    }
}

fn record(set: &'static OwnedSet, element: &ElementInfo) -> Option<Record> {
    let owner = Owner::from_alias(element.owner.as_deref()?)?;
    Some(Record { set, key: Key::from_bytes(set.key, &element.key)?, owner })
}

/// The elements that are the pod's alone.
fn owned(target: &Target) -> Vec<(&'static OwnedSet, Vec<Element>)> {
    let mine = |key: Key| Element::new(key).owner(&target.owner);
    let (v4, v6): (Vec<IpAddr>, Vec<IpAddr>) = target.addresses.iter().partition(|address| address.is_ipv4());
    let pods =
        |addresses: Vec<IpAddr>| addresses.into_iter().map(|address| mine(address.into())).collect::<Vec<Element>>();
    let mut owned = vec![(&PODS4, pods(v4)), (&PODS6, pods(v6))];
    if let Some(fence) = &target.fence {
        owned.push((&MEMBERS, members(target, fence).into_iter().map(mine).collect()));
        if fence.isolated {
            owned.push((&ISOLATED_PORTS, fence.ports.iter().map(|port| mine(port.as_str().into())).collect()));
        }
    }
    owned.retain(|(_, elements)| !elements.is_empty());
    owned
}

/// Which pod needs which fence; no rule looks at it.
fn members(target: &Target, fence: &Fence) -> Vec<Key> {
    let policy = if fence.isolated { MEMBER_ISOLATED } else { MEMBER_SAME_BRIDGE };
    let of = |bridge: &String, address: &IpAddr| {
        let address: Ipv6Addr = match address {
            IpAddr::V4(address) => address.to_ipv6_mapped(),
            IpAddr::V6(address) => *address,
        };
        Key::concat([bridge.as_str().into(), Value::Mark(policy), address.into()])
    };
    fence.bridges.iter().flat_map(|bridge| target.addresses.iter().map(move |address| of(bridge, address))).collect()
}

/// The elements of `bridge` that its pods with this policy have in common.
fn shared(bridge: &str, policy: u32) -> [(&'static str, Key); 2] {
    let within = Key::concat([bridge.into(), bridge.into()]);
    let pair = if policy == MEMBER_ISOLATED { ISOLATED } else { SAME_BRIDGE };
    [(FENCED, bridge.into()), (pair, within)]
}

fn share(tx: &mut Transaction, target: &Target) {
    let Some(fence) = &target.fence else { return };
    let policy = if fence.isolated { MEMBER_ISOLATED } else { MEMBER_SAME_BRIDGE };
    for (set, key) in fence.bridges.iter().flat_map(|bridge| shared(bridge, policy)) {
        tx.add_element(&FILTER, set, Element::new(key));
    }
}

/// Removes what members that go had in common, and none that stays.
fn unshare(tx: &mut Transaction, gone: &[Record], kept: &[Record]) {
    let elements = |records: &[Record]| {
        let members = records.iter().filter(|record| record.set == &MEMBERS);
        let shared = members.filter_map(|record| match record.key.0.as_slice() {
            [Value::IfName(bridge), Value::Mark(policy), _] => Some(shared(bridge, *policy)),
            _ => None,
        });
        shared.flatten().collect::<Vec<_>>()
    };
    let needed = elements(kept);
    let mut removed = Vec::new();
    for element in elements(gone) {
        if !needed.contains(&element) && !removed.contains(&element) {
            tx.destroy_element(&FILTER, element.0, element.1.clone());
            removed.push(element);
        }
    }
}

#[cfg(test)]
mod tests;
