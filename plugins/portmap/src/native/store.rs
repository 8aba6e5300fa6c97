//! Adding and removing an attachment's elements, all at once or not at all.

use std::collections::BTreeSet;

use nft::{ElementInfo, Error, Key, Missing, Nft, RawData, Transaction, Value};

use pod::Owner;

use super::layout::{self, TABLE};
use super::record::entry_key;
use super::{Record, Wanted, claims, gates};
use crate::mapping::{Mapping, PortMapping};

/// How often others may take the table away while it is used. A kernel that lacks a part of it says the same each time.
const SET_UPS: usize = 3;
/// How often others may change the same ports while they are looked at.
const ATTEMPTS: usize = 64;
/// A host port that another attachment has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// What was asked for.
    pub wanted: Mapping,
    /// Who has it, as it stands in the element's comment.
    pub owner: String,
    /// What it has.
    pub record: Record,
}

impl Held {
    /// The container that has it.
    pub fn container_id(&self) -> Option<String> {
        Owner::from_alias(&self.owner).map(|owner| owner.attachment.container_id)
    }
}

/// Why an attachment did not get its ports. Nothing was changed.
#[derive(Debug)]
pub enum Refused {
    /// Another has one of them.
    Held(Box<Held>),
    /// The kernel's reason.
    Kernel(Error),
}

impl From<Error> for Refused {
    fn from(error: Error) -> Refused {
        Refused::Kernel(error)
    }
}

/// Gives the attachment its ports; done again, it changes nothing. What it had before and no longer wants goes.
///
/// # Errors
/// That another has a port, or the kernel's.
pub fn add(nft: &mut Nft, wanted: &Wanted) -> Result<(), Refused> {
    let mut tx = Transaction::new();
    create(&mut tx, wanted);
    let mut error = match nft.commit(&tx) {
        Ok(()) => return Ok(()),
        Err(error) => error,
    };
    let mut set_ups = 0;
    for _ in 0..ATTEMPTS {
        let set_up = match &error {
            Error::Exists(_) => false,
            // An element that leads to a chain is itself told to be missing where the chain is.
            Error::NotFound { missing: Missing::Element, .. } if wanted.gates().is_empty() => false,
            Error::NotFound { .. } if set_ups < SET_UPS => true,
            _ => break,
        };
        set_ups += usize::from(set_up);
        let records = recorded(nft, &wanted.tag)?;
        let Some(tx) = change(nft, &wanted.tag, &records, Some(wanted), set_up)? else { return Ok(()) };
        match nft.commit(&tx) {
            Ok(()) => return Ok(()),
            Err(again) => error = again,
        }
    }
    Err(Refused::Kernel(error))
}

/// Finds whether the attachment could get its ports, for who keeps them elsewhere.
///
/// # Errors
/// That another has one, or the kernel's.
pub fn refuse_held(nft: &mut Nft, wanted: &Wanted) -> Result<(), Refused> {
    let records = recorded(nft, &wanted.tag)?;
    change(nft, &wanted.tag, &records, Some(wanted), false).map(drop)
}

/// Takes away what the attachment has: what is recorded, and `also`, as far as it is its own. What was taken.
///
/// # Errors
/// The kernel's.
pub fn remove(nft: &mut Nft, tag: &str, also: &[Record]) -> Result<Vec<Record>, Error> {
    let mut attempts = 0;
    loop {
        let mut records = recorded(nft, tag)?;
        for extra in also {
            if !records.iter().any(|record| record.port_key() == extra.port_key()) {
                records.push(extra.clone());
            }
        }
        let chains = gates::chains_of(nft, tag, &records)?;
        let tx = match change(nft, tag, &records, None, false) {
            Ok(Some(tx)) => tx,
            Err(Refused::Kernel(error)) => return Err(error),
            // Nothing is held against who asks for nothing.
            Ok(None) | Err(Refused::Held(_)) => return Ok(Vec::new()),
        };
        match nft.commit(&tx) {
            Ok(()) => return gates::sweep(nft, &chains).map(|()| records),
            // Another DEL of the same attachment, or one of another address with the same port, came first.
            Err(Error::NotFound { .. } | Error::Exists(_)) if attempts < ATTEMPTS => attempts += 1,
            Err(error) => return Err(error),
        }
    }
}

/// What the map of owners has for the attachment.
///
/// # Errors
/// The kernel's.
pub fn recorded(nft: &mut Nft, tag: &str) -> Result<Vec<Record>, Error> {
    let mut records = Vec::new();
    for number in 0..=u16::MAX {
        let Some(entry) = get(nft, layout::OWNED, entry_key(tag, number))? else { break };
        if entry.owner.as_deref() != Some(tag) {
            break;
        }
        if let Some(RawData::Value(data)) = &entry.data {
            records.extend(Record::from_data(data));
        }
    }
    Ok(records)
}

/// An element, if it is there; none also where the set is missing, or the kernel could not have it.
///
/// # Errors
/// The kernel's.
pub fn get(nft: &mut Nft, set: &str, key: Key) -> Result<Option<ElementInfo>, Error> {
    match nft.element(&TABLE, set, key) {
        Err(Error::NotFound { .. } | Error::Unsupported { .. }) => Ok(None),
        other => other,
    }
}

/// What is created where nothing of it is there.
fn create(tx: &mut Transaction, wanted: &Wanted) {
    for (key, count) in claims::counts(&wanted.records()) {
        tx.create_elements(&TABLE, layout::CLAIMS, vec![claims::element(key, count)]);
    }
    for (set, element) in wanted.elements() {
        tx.create_elements(&TABLE, set, vec![element]);
    }
}

/// The transaction that makes out of `records` what is wanted; `None` when that is what there is. Only the attachment's own
/// elements go, and those that say of the pod's address that it is another's: that one is dead, or it would still have it.
fn change(
    nft: &mut Nft,
    tag: &str,
    records: &[Record],
    wanted: Option<&Wanted>,
    set_up: bool,
) -> Result<Option<Transaction>, Refused> {
    let elements = wanted.map(Wanted::elements).unwrap_or_default();
    let mut intact = !set_up;
    let mut old: Vec<(&'static str, Key)> = Vec::new();
    let mut seen = BTreeSet::new();
    let mut replace = |set: &'static str, key: Key| {
        if seen.insert((set, key.to_bytes())) {
            old.push((set, key));
        }
    };
    let mut present = Vec::new();
    let mut looked_at = BTreeSet::new();
    for (record, number) in records.iter().zip(0..) {
        let mut keys = vec![(layout::OWNED, entry_key(tag, number))];
        keys.extend(record.pod_keys());
        let port = record.port_key();
        for (set, key) in keys.into_iter().chain([port.clone()]) {
            if !looked_at.insert((set, key.to_bytes())) {
                continue;
            }
            let found = get(nft, set, key.clone())?;
            if found.is_none_or(|element| element.owner.as_deref() != Some(tag)) {
                continue;
            }
            intact &= elements.iter().any(|(of, element)| *of == set && element.key == key);
            if (set, &key) == (port.0, &port.1) {
                present.push(record.clone());
            }
            replace(set, key);
        }
    }
    for (set, element) in &elements {
        let Some(found) = get(nft, set, element.key.clone())? else {
            intact = false;
            continue;
        };
        if found.owner.as_deref() != Some(tag)
            && let Some(record) = Record::from_port(set, &found)
        {
            return Err(held(wanted, &found, record));
        }
        intact &= found.is(element);
        replace(set, element.key.clone());
    }
    let claims = claims::changes(nft, tag, &present, wanted)?;
    if intact && claims.is_empty() {
        return Ok(None);
    }
    let mut tx = Transaction::new();
    if set_up {
        layout::set_up(&mut tx);
        wanted.into_iter().flat_map(Wanted::gates).for_each(|gate| gate.set_up(&mut tx));
    }
    for claim in claims {
        claim.write(&mut tx);
    }
    for (set, key) in old {
        tx.delete_element(&TABLE, set, key);
    }
    for (set, element) in elements {
        tx.create_elements(&TABLE, set, vec![element]);
    }
    Ok((!tx.is_empty()).then_some(tx))
}

/// The attachment's own among the mappings it was given, for where the map of owners has been lost.
///
/// # Errors
/// The kernel's.
pub fn own_ports(nft: &mut Nft, tag: &str, ports: &[PortMapping]) -> Result<Vec<Record>, Error> {
    let mut own = Vec::new();
    for port in ports {
        let (protocol, number) = (Value::Proto(port.protocol.number()), Value::Port(port.host_port));
        for v4 in [true, false].into_iter().filter(|v4| port.host_ip.is_none_or(|host| host.is_ipv4() == *v4)) {
            let (map, key) = match port.host_ip.filter(|host| !host.is_unspecified()) {
                Some(host) => (layout::address_map(v4), Key::concat([host.into(), protocol.clone(), number.clone()])),
                None => (layout::any_map(v4), Key::concat([protocol.clone(), number.clone()])),
            };
            let found = get(nft, map, key)?.filter(|element| element.owner.as_deref() == Some(tag));
            own.extend(found.and_then(|element| Record::from_port(map, &element)));
        }
    }
    Ok(own)
}

/// The refusal of what is wanted, where another has `record`.
pub fn held(wanted: Option<&Wanted>, found: &ElementInfo, record: Record) -> Refused {
    let mut mappings = wanted.into_iter().flat_map(|wanted| &wanted.mappings);
    let owner = found.owner.clone().unwrap_or_else(|| "somebody who left no name".to_owned());
    match mappings.find(|mapping| Record::of(mapping, "").claim() == record.claim()) {
        Some(mapping) => Refused::Held(Box::new(Held { wanted: mapping.clone(), owner, record })),
        // Only what is wanted is compared with what others hold.
        None => Refused::Kernel(Error::Invalid {
            operation: format!("map a host port of {owner}"),
            reason: "it was not asked for".to_owned(),
        }),
    }
}
