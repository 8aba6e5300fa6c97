//! GC: what no valid attachment of a network owns.

use std::collections::BTreeMap;

use cni::Attachment;
use nft::{ElementInfo, Error, Nft, Transaction};
use pod::Owner;

use super::layout::{self, TABLE};
use super::{Record, gates, store};

/// Removes what attachments of `network` have that are not in `valid`; what was removed.
///
/// Looks at every element's owner, so that it also finds what is not recorded in the map of owners.
///
/// # Errors
/// The kernel's, after the rest was removed.
pub fn gc(nft: &mut Nft, network: &str, valid: &[Attachment]) -> Result<Vec<Record>, Error> {
    let is_dead = |element: &ElementInfo| {
        let owner = element.owner.as_deref().and_then(Owner::from_alias);
        owner.is_some_and(|owner| owner.network == network && !valid.contains(&owner.attachment))
    };
    let mut dead: BTreeMap<String, Vec<Record>> = BTreeMap::new();
    let mut loose = Vec::new();
    for set in layout::sets() {
        let elements = match nft.elements_if_there(&TABLE, &set.name) {
            Ok(elements) => elements,
            Err(Error::Unsupported { .. }) => continue,
            Err(error) => return Err(error),
        };
        for element in elements.into_iter().filter(is_dead) {
            let records = dead.entry(element.owner.clone().unwrap_or_default()).or_default();
            records.extend(Record::from_port(&set.name, &element));
            loose.push((set.clone(), element));
        }
    }
    let mut removed = Vec::new();
    let mut failed = None;
    for (tag, records) in dead {
        match store::remove(nft, &tag, &records) {
            Ok(records) => removed.extend(records),
            Err(error) => failed = Some(error),
        }
    }
    let mut tx = Transaction::new();
    for (set, element) in loose {
        let Some(key) = nft::Key::from_bytes(&set.key, &element.key) else { continue };
        // Most went with the ports; the address of one may be another pod's by now.
        if store::get(nft, &set.name, key.clone())?.is_some_and(|now| now.owner == element.owner) {
            tx.delete_element(&TABLE, set.name, key);
        }
    }
    match nft.commit(&tx) {
        Err(error) if !error.is_not_found() => return Err(error),
        _ => failed.map_or(Ok(()), Err)?,
    }
    let chains = gates::all_chains(nft)?;
    gates::sweep(nft, &chains).map(|()| removed)
}
