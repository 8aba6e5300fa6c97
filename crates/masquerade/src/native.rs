//! Masquerading in nf_tables: one element per pod address, one chain per subnet.
//!
//! ```text
//! table inet podlink_masq {
//!     map pods4 { type ipv4_addr : verdict }      10.88.0.5 comment "podlink:net/c1/eth0" : jump subnet-10.88.0.0-16
//!     chain postrouting { type nat hook postrouting; ip saddr vmap @pods4; ip6 saddr vmap @pods6 }
//!     chain subnet-10.88.0.0-16 { ip daddr 10.88.0.0/16 return; ip daddr 224.0.0.0/4 return; masquerade }
//! }
//! ```
//!
//! A packet costs one look-up however many pods there are, and a pod one element.

use std::net::IpAddr;

use cni::{Cidr, IpConfig};
use nft::{
    Chain, ChainType, Element, Error, Family, FieldType, Hook, Key, Nft, Rule, Selector, Set, Table, Transaction,
};
use nft::{Verdict, priority};
use pod::{Owner, drift};

use crate::Subject;

/// The table of all networks' masquerading.
pub(crate) const TABLE: Table = Table::new(Family::Inet, "podlink_masq");
const POSTROUTING: &str = "postrouting";
const MAPS: [(&str, FieldType, Selector); 2] =
    [("pods4", FieldType::Ipv4Addr, Selector::IpSaddr), ("pods6", FieldType::Ipv6Addr, Selector::Ip6Saddr)];
/// How often another call may make at the same moment what this one found missing.
const ATTEMPTS: usize = 8;

/// Makes the pod's elements, and the table and chains where they are missing.
pub fn add(nft: &mut Nft, subject: &Subject<'_>) -> Result<(), Error> {
    let mut setup = Transaction::new();
    for attempt in 1.. {
        let mut transaction = std::mem::take(&mut setup);
        add_elements(&mut transaction, subject);
        match nft.commit(&transaction) {
            // The table or a chain is not there yet, or has come to be there since we looked.
            Err(e) if attempt < ATTEMPTS && (e.is_not_found() || e.is_exists()) => setup = missing(nft, subject.ips)?,
            done => return done,
        }
    }
    Ok(())
}

fn add_elements(transaction: &mut Transaction, subject: &Subject<'_>) {
    for ip in subject.ips {
        // An element that is there was left by a pod that had the address before and was never deleted.
        transaction.destroy_element(&TABLE, map(ip.address.ip()), ip.address.ip());
        transaction.add_element(&TABLE, map(ip.address.ip()), element(ip, subject.owner));
    }
}

fn element(ip: &IpConfig, owner: &Owner) -> Element {
    Element::new(ip.address.ip()).verdict(Verdict::Jump(chain_name(ip.address))).owner(owner.label())
}

/// What of the table and chains for these addresses is not there.
fn missing(nft: &mut Nft, ips: &[IpConfig]) -> Result<Transaction, Error> {
    let mut transaction = Transaction::new();
    let mut chains = Vec::new();
    if nft.has_table(&TABLE)? {
        chains.extend(nft.chains(&TABLE)?.into_iter().map(|chain| chain.name));
    } else {
        transaction.create_table(&TABLE);
        let base = Chain::base(POSTROUTING, ChainType::Nat, Hook::Postrouting, priority::SRCNAT);
        transaction.create_chain(&TABLE, base);
        for (name, key, selector) in MAPS {
            transaction.create_set(&TABLE, Set::new(name, [key]).to_verdicts());
            transaction.add_rule(&TABLE, POSTROUTING, Rule::new().verdict_map(&[selector], name));
        }
    }
    for ip in ips {
        let name = chain_name(ip.address);
        if chains.contains(&name) {
            continue;
        }
        transaction.create_chain(&TABLE, Chain::regular(&*name));
        for rule in subnet_rules(ip.address) {
            transaction.add_rule(&TABLE, &*name, rule);
        }
        chains.push(name);
    }
    Ok(transaction)
}

/// Neither traffic to the pod's own subnet nor multicast is masqueraded.
fn subnet_rules(address: Cidr) -> [Rule; 3] {
    let (multicast, length, selector): (IpAddr, u8, Selector) = match address.ip() {
        IpAddr::V4(_) => ([224, 0, 0, 0].into(), 4, Selector::IpDaddr),
        IpAddr::V6(_) => ([0xff00, 0, 0, 0, 0, 0, 0, 0].into(), 8, Selector::Ip6Daddr),
    };
    [
        Rule::new().in_prefix(selector, address.0.network(), address.0.prefix()).ret(),
        Rule::new().in_prefix(selector, multicast, length).ret(),
        Rule::new().masquerade(0),
    ]
}

/// The subnet's chain: `subnet-10.88.0.0-16`. nft's own syntax has no place for `/` and `:` in a name.
fn chain_name(address: Cidr) -> String {
    format!("subnet-{}-{}", address.0.network().to_string().replace(':', "_"), address.0.prefix())
}

fn map(ip: IpAddr) -> &'static str {
    MAPS[usize::from(ip.is_ipv6())].0
}

/// Finds an element, rule or chain that is not as [`add`] makes it.
pub fn check(nft: &mut Nft, subject: &Subject<'_>) -> Result<(), cni::Error> {
    let missing = |what: String| drift("ipMasq", what, "none, or another one");
    for ip in subject.ips {
        let address = ip.address.ip();
        let found = nft.element(&TABLE, map(address), address).or_else(none_if_missing).map_err(crate::failed)?;
        if !found.is_some_and(|found| found.is(&element(ip, subject.owner))) {
            return Err(missing(format!("an element {address} in map {} of table {TABLE}", map(address))));
        }
        let chain = chain_name(ip.address);
        expect_rules(nft, &chain, &subnet_rules(ip.address))?;
    }
    expect_rules(nft, POSTROUTING, &MAPS.map(|(name, _, selector)| Rule::new().verdict_map(&[selector], name)))
}

fn expect_rules(nft: &mut Nft, chain: &str, expected: &[Rule]) -> Result<(), cni::Error> {
    let found = nft.rules(&TABLE, chain).map_err(crate::failed)?;
    for rule in expected {
        if !found.iter().any(|found| found.is(rule, Family::Inet)) {
            let found: Vec<String> = found.iter().map(|found| nft::describe(&found.exprs)).collect();
            return Err(drift(format_args!("chain {chain} of table {TABLE}"), rule, found.join("; ")));
        }
    }
    Ok(())
}

/// Removes the owner's elements; whether there were any. Those of `ips` are looked for first, which is quick; then all.
pub fn remove(nft: &mut Nft, owner: &Owner, ips: &[IpConfig]) -> Result<bool, Error> {
    let label = Some(owner.label());
    let mut transaction = Transaction::new();
    for ip in ips.iter().map(|ip| ip.address.ip()) {
        let found = nft.element(&TABLE, map(ip), ip).or_else(none_if_missing)?;
        // The address may be another pod's by now.
        if found.is_some_and(|found| found.owner == label) {
            transaction.destroy_element(&TABLE, map(ip), ip);
        }
    }
    if transaction.is_empty() {
        collect(nft, &mut transaction, |found| Some(found) == label.as_deref())?;
    }
    let any = !transaction.is_empty();
    nft.commit(&transaction).map(|()| any)
}

/// Removes the elements whose owner is ours and not to be kept.
pub fn retain(nft: &mut Nft, keep: impl Fn(&Owner) -> bool) -> Result<(), Error> {
    let mut transaction = Transaction::new();
    collect(nft, &mut transaction, |label| Owner::from_alias(label).is_some_and(|owner| !keep(&owner)))?;
    nft.commit(&transaction)
}

fn collect(nft: &mut Nft, transaction: &mut Transaction, goes: impl Fn(&str) -> bool) -> Result<(), Error> {
    if !nft.has_table(&TABLE)? {
        return Ok(());
    }
    for (map, key, _) in MAPS {
        for found in nft.elements_if_there(&TABLE, map)? {
            if found.owner.as_deref().is_some_and(&goes)
                && let Some(key) = Key::from_bytes(&[key], &found.key)
            {
                transaction.destroy_element(&TABLE, map, key);
            }
        }
    }
    Ok(())
}

/// A table, map or element that is not there has nothing in it.
fn none_if_missing<T>(error: Error) -> Result<Option<T>, Error> {
    if error.is_not_found() { Ok(None) } else { Err(error) }
}
