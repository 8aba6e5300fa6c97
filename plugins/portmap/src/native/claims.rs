//! Claims: who may have which port, decided by the kernel itself.
//!
//! A port of every address and one of a single address are in different maps, which cannot refuse one another. Both make the
//! same element in the map of claims: with 0 for every address, else with the number of single ones. To add what is there
//! with the same number does nothing and with another number fails; so a number is replaced only if nobody else did.

use std::collections::{BTreeMap, BTreeSet};

use nft::{Element, ElementInfo, Error, Key, Nft, RawData, Transaction, Value};

use super::layout::{self, TABLE};
use super::record::{ClaimKey, claim_key};
use super::store::Refused;
use super::{Record, Wanted, store};

/// A port of every address in the map of claims.
const EVERY: u32 = 0;

/// A claim that becomes another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    key: ClaimKey,
    before: Option<u32>,
    after: Option<u32>,
}

impl Change {
    /// Writes it; fails when the claim is no longer what it was.
    pub fn write(&self, tx: &mut Transaction) {
        if let Some(count) = self.before {
            tx.add_elements(&TABLE, layout::CLAIMS, vec![element(self.key, count)]);
            tx.delete_element(&TABLE, layout::CLAIMS, claim_key(self.key));
        }
        if let Some(count) = self.after {
            tx.create_elements(&TABLE, layout::CLAIMS, vec![element(self.key, count)]);
        }
    }
}

/// How many addresses each claim is about.
pub fn counts(records: &[Record]) -> BTreeMap<ClaimKey, u32> {
    let mut counts = BTreeMap::new();
    for record in records {
        let count = counts.entry(record.claim()).or_insert(EVERY);
        *count += u32::from(record.host_ip.is_some());
    }
    counts
}

/// The count of a claim.
///
/// # Errors
/// The kernel's.
pub fn claimed(nft: &mut Nft, key: ClaimKey) -> Result<Option<u32>, Error> {
    let found = store::get(nft, layout::CLAIMS, claim_key(key))?;
    let count = found.and_then(|element| match element.data {
        Some(RawData::Value(data)) => data.try_into().ok().map(u32::from_ne_bytes),
        _ => None,
    });
    Ok(count)
}

/// The element of a claim.
pub fn element(key: ClaimKey, count: u32) -> Element {
    Element::new(claim_key(key)).value(Value::Mark(count))
}

/// The claims that change when `present` goes and what is wanted comes.
///
/// # Errors
/// That another has one of the ports, or the kernel's.
pub fn changes(nft: &mut Nft, tag: &str, present: &[Record], wanted: Option<&Wanted>) -> Result<Vec<Change>, Refused> {
    let ours = counts(present);
    let wants = counts(&wanted.map(Wanted::records).unwrap_or_default());
    let keys: BTreeSet<ClaimKey> = ours.keys().chain(wants.keys()).copied().collect();
    let mut changes = Vec::new();
    for key in keys {
        let current = claimed(nft, key)?;
        let others = match (current, ours.get(&key)) {
            (Some(EVERY), Some(&EVERY)) => None,
            (Some(count), Some(&own)) if count != EVERY => count.checked_sub(own).filter(|rest| *rest > 0),
            (current, _) => current,
        };
        let new = match (others, wants.get(&key)) {
            (others, None) => others,
            (None, Some(&count)) => Some(count),
            (Some(others), Some(&count)) if others != EVERY && count != EVERY => Some(others + count),
            (Some(_), Some(&count)) => match holder(nft, key, tag)? {
                Some((element, record)) => return Err(store::held(wanted, &element, record)),
                // A claim without a port behind it: somebody took that away by hand.
                None => Some(count),
            },
        };
        if current != new {
            changes.push(Change { key, before: current, after: new });
        }
    }
    Ok(changes)
}

/// Another's port that a claim is for. Looks at every port of a single address: only on the way to an error.
fn holder(nft: &mut Nft, key: ClaimKey, tag: &str) -> Result<Option<(ElementInfo, Record)>, Error> {
    let (v4, protocol, port) = key;
    let any = Key::concat([Value::Proto(protocol.number()), Value::Port(port)]);
    let mut candidates = vec![];
    candidates.extend(store::get(nft, layout::any_map(v4), any)?.map(|element| (layout::any_map(v4), element)));
    let single = nft.elements(&TABLE, layout::address_map(v4))?;
    candidates.extend(single.into_iter().map(|element| (layout::address_map(v4), element)));
    let mut others = candidates.into_iter().filter(|(_, element)| element.owner.as_deref() != Some(tag));
    Ok(others.find_map(|(set, element)| {
        let record = Record::from_port(set, &element).filter(|record| record.claim() == key)?;
        Some((element, record))
    }))
}
