//! The MAC spoof check, in the bridge family: a pod's port passes frames of the pod's own MAC only.
//!
//! ```text
//! table bridge podlink_spoof {
//!     set ports { type ifname }                       vethc0… comment "podlink:net/c1/eth0"
//!     set allowed { type ifname . ether_addr }        vethc0… . 02:00:00:00:00:01
//!     chain prerouting { type filter hook prerouting; iifname . ether saddr @allowed return; iifname @ports drop }
//! }
//! ```

use netlink::MacAddr;
use nft::{
    Chain, ChainType, Element, Error, Family, FieldType, Hook, Key, Nft, Rule, Selector, Set, Table, Transaction,
};
use nft::{Value, priority};
use pod::{Owner, drift};

use super::Subject;

const TABLE: Table = Table::new(Family::Bridge, "podlink_spoof");
const PREROUTING: &str = "prerouting";
const PORTS: &str = "ports";
const ALLOWED: &str = "allowed";
const ALLOWED_KEY: [FieldType; 2] = [FieldType::IfName, FieldType::EtherAddr];

/// Lets the port pass the pod's MAC only.
pub fn add(nft: &mut Nft, subject: &Subject<'_>) -> Result<(), Error> {
    let port = subject.owner.host_name();
    // A port of this name was this attachment's, with another MAC: left by an ADD that was killed.
    remove(nft, &port)?;
    let mut elements = Transaction::new();
    elements.add_element(&TABLE, ALLOWED, Element::new(allowed_key(&port, subject.mac)));
    elements.add_element(&TABLE, PORTS, Element::new(&*port).owner(subject.owner.label()));
    match nft.commit(&elements) {
        Err(e) if e.is_not_found() => {}
        done => return done,
    }
    let mut table = Transaction::new();
    table.create_table(&TABLE);
    table.create_set(&TABLE, Set::new(PORTS, [FieldType::IfName]));
    table.create_set(&TABLE, Set::new(ALLOWED, ALLOWED_KEY));
    table.create_chain(&TABLE, Chain::base(PREROUTING, ChainType::Filter, Hook::Prerouting, priority::BRIDGE_DSTNAT));
    for rule in rules() {
        table.add_rule(&TABLE, PREROUTING, rule);
    }
    match nft.commit(&table) {
        // Another ADD was first.
        Err(e) if e.is_exists() => {}
        other => other?,
    }
    nft.commit(&elements)
}

fn rules() -> [Rule; 2] {
    [
        Rule::new().in_set(&[Selector::IifName, Selector::EtherSaddr], ALLOWED).ret(),
        Rule::new().in_set(&[Selector::IifName], PORTS).drop(),
    ]
}

fn allowed_key(port: &str, mac: MacAddr) -> Key {
    Key::from([Value::IfName(port.to_owned()), Value::Ether(mac.octets())])
}

/// Finds an element or rule that is not as [`add`] makes it.
pub fn check(nft: &mut Nft, subject: &Subject<'_>) -> Result<(), cni::Error> {
    let failed = |e: Error| super::spoof_failed(e);
    let port = subject.owner.host_name();
    let keys = [(PORTS, Key::from(&*port)), (ALLOWED, allowed_key(&port, subject.mac))];
    for (set, key) in keys {
        let shown = key.to_string();
        let found = nft.element(&TABLE, set, key).or_else(|e| if e.is_not_found() { Ok(None) } else { Err(e) });
        if found.map_err(failed)?.is_none() {
            return Err(drift("macspoofchk", format_args!("an element {shown} in set {set} of table {TABLE}"), "none"));
        }
    }
    let found = nft.rules(&TABLE, PREROUTING).map_err(failed)?;
    for rule in rules() {
        if !found.iter().any(|found| found.is(&rule, Family::Bridge)) {
            let found: Vec<String> = found.iter().map(|found| nft::describe(&found.exprs)).collect();
            return Err(drift(format_args!("chain {PREROUTING} of table {TABLE}"), rule, found.join("; ")));
        }
    }
    Ok(())
}

/// Removes what is there for the port.
pub fn remove(nft: &mut Nft, port: &str) -> Result<(), Error> {
    match nft.element(&TABLE, PORTS, port) {
        Ok(Some(_)) => remove_ports(nft, &[port.to_owned()]),
        Err(e) if !e.is_not_found() => Err(e),
        _ => Ok(()),
    }
}

/// Removes the ports whose owner is ours and not to be kept.
pub fn retain(nft: &mut Nft, keep: impl Fn(&Owner) -> bool) -> Result<(), Error> {
    if !nft.has_table(&TABLE)? {
        return Ok(());
    }
    let owned = nft.elements_if_there(&TABLE, PORTS)?.into_iter().filter_map(|found| found.owner);
    let gone = owned.filter_map(|alias| Owner::from_alias(&alias)).filter(|owner| !keep(owner));
    let gone: Vec<String> = gone.map(|owner| owner.host_name()).collect();
    if gone.is_empty() { Ok(()) } else { remove_ports(nft, &gone) }
}

fn remove_ports(nft: &mut Nft, ports: &[String]) -> Result<(), Error> {
    let mut transaction = Transaction::new();
    for found in nft.elements_if_there(&TABLE, ALLOWED)? {
        let key = Key::from_bytes(&ALLOWED_KEY, &found.key);
        let is_of_port = |key: &Key| matches!(key.0.first(), Some(Value::IfName(name)) if ports.contains(name));
        if let Some(key) = key.filter(is_of_port) {
            transaction.destroy_element(&TABLE, ALLOWED, key);
        }
    }
    for port in ports {
        transaction.destroy_element(&TABLE, PORTS, &**port);
    }
    nft.commit(&transaction)
}
