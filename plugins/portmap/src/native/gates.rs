//! Gates: a port whose connections go by conditions has an element in a map of gates, too, which leads to the chain of its
//! conditions. That comes back if they hold; else the packet leaves untranslated.
//!
//! A chain is named after its words, so that attachments with the same share it, and its rules never change. The last of
//! them to go takes it away.

use std::hash::Hasher;

use nft::{
    Chain, Element, ElementInfo, Error, Expr, Key, Nft, RawData, Reg, Rule, Selector, Set, Transaction, Value, Verdict,
};
use siphasher::sip::SipHasher13;

use super::layout::{self, TABLE};
use super::{Record, store};
use crate::conditions::{Conditions, Field, Test};

/// What the names of the chains, and of their sets, begin with.
const PREFIX: &str = "conditions-";

/// The chain of conditions, as it is in the kernel.
pub struct Gate {
    /// The chain.
    pub chain: Chain,
    /// Its rules.
    pub rules: Vec<Rule>,
    /// The sets that they look at, and what is in them.
    pub sets: Vec<(Set, Vec<Element>)>,
}

/// The name of the chain.
pub fn chain_name(conditions: &Conditions, v4: bool) -> String {
    let mut hasher = SipHasher13::new();
    hasher.write(format!("{} {conditions}", if v4 { "ip" } else { "ip6" }).as_bytes());
    format!("{PREFIX}{:016x}", hasher.finish())
}

/// The element that puts a port behind its conditions.
pub fn element(record: &Record, conditions: &Conditions, tag: &str) -> (&'static str, Element) {
    let (map, key) = record.gate_key();
    let chain = chain_name(conditions, record.pod.is_ipv4());
    (map, Element::new(key).verdict(Verdict::Jump(chain)).owner(tag))
}

impl Gate {
    /// What the kernel is to have for the conditions.
    pub fn of(conditions: &Conditions, v4: bool) -> Gate {
        let name = chain_name(conditions, v4);
        let mut sets = Vec::new();
        let passes = conditions.tests.iter().fold(Rule::new(), |rule, test| {
            let set_name = format!("{name}-{}", sets.len());
            let (rule, set) = add_test(rule, test, v4, set_name);
            sets.extend(set);
            rule
        });
        let chain = Chain::regular(name);
        Gate { chain, rules: vec![passes.ret(), Rule::new().accept()], sets }
    }

    /// Makes whatever of it is missing.
    pub fn set_up(self, tx: &mut Transaction) {
        for (set, elements) in self.sets {
            let name = set.name.clone();
            tx.add_set(&TABLE, set).flush_set(&TABLE, &name).add_elements(&TABLE, name, elements);
        }
        let name = self.chain.name.clone();
        tx.add_chain(&TABLE, self.chain).flush_chain(&TABLE, &name);
        for rule in self.rules {
            tx.add_rule(&TABLE, &name, rule);
        }
    }
}

/// Adds a condition to the rule; the set it needs, if any.
fn add_test(rule: Rule, test: &Test, v4: bool, set: String) -> (Rule, Option<(Set, Vec<Element>)>) {
    let network = layout::network(v4);
    let of_protocol = |rule: Rule, protocol: Option<crate::mapping::Protocol>| match protocol {
        Some(protocol) => rule.eq(Selector::L4Proto, Value::Proto(protocol.number())),
        None => rule,
    };
    let (rule, selector) = match &test.field {
        Field::Source => (rule, Selector::saddr(network)),
        Field::Destination => (rule, Selector::daddr(network)),
        Field::SourcePort(protocol) => (of_protocol(rule, *protocol), Selector::ThSport),
        Field::DestinationPort(protocol) => (of_protocol(rule, *protocol), Selector::ThDport),
        Field::Interface => (rule, Selector::IifName),
        Field::Protocol => (rule, Selector::L4Proto),
        Field::Interfaces(start) => {
            let cmp = Expr::Cmp { sreg: Reg(0), equal: test.equal, value: start.as_bytes().to_vec() };
            return (rule.expr(Expr::Load { selector: Selector::IifName, dreg: Reg(0) }).expr(cmp), None);
        }
        Field::Mark(mask) => {
            let Some((Value::Mark(value), _)) = test.values.first() else { return (rule, None) };
            let rule = match (*mask, test.equal) {
                (u32::MAX, true) => rule.eq(Selector::Mark, Value::Mark(*value)),
                (u32::MAX, false) => rule.ne(Selector::Mark, Value::Mark(*value)),
                (mask, true) => rule.masked_eq(Selector::Mark, mask, *value),
                (mask, false) => rule.masked_ne(Selector::Mark, mask, *value),
            };
            return (rule, None);
        }
    };
    match test.values.as_slice() {
        [(only, last)] if only == last && test.equal => (rule.eq(selector, only.clone()), None),
        [(only, last)] if only == last => (rule.ne(selector, only.clone()), None),
        values => {
            let mut new = Set::new(&set, [selector.field_type()]);
            new.interval = values.iter().any(|(first, last)| first != last);
            // Without its end, a single value would be a range up to the next one in such a set.
            let element = |(first, last): &(Value, Value)| match new.interval {
                true => Element::new(first.clone()).to(last.clone()),
                false => Element::new(first.clone()),
            };
            let elements = values.iter().map(element).collect();
            let rule = if test.equal { rule.in_set(&[selector], set) } else { rule.not_in_set(&[selector], set) };
            (rule, Some((new, elements)))
        }
    }
}

/// The chain that a gate leads to.
pub fn leads_to(gate: &ElementInfo) -> Option<&str> {
    match &gate.data {
        Some(RawData::Verdict(Verdict::Jump(chain))) if chain.starts_with(PREFIX) => Some(chain),
        _ => None,
    }
}

/// The chains of conditions that these ports of an owner are behind.
///
/// # Errors
/// The kernel's.
pub fn chains_of(nft: &mut Nft, tag: &str, records: &[Record]) -> Result<Vec<String>, Error> {
    let mut chains = Vec::new();
    for record in records {
        let (map, key) = record.gate_key();
        let gate = store::get(nft, map, key)?.filter(|gate| gate.owner.as_deref() == Some(tag));
        chains.extend(gate.as_ref().and_then(leads_to).map(str::to_owned));
    }
    chains.sort();
    chains.dedup();
    Ok(chains)
}

/// All chains of conditions.
///
/// # Errors
/// The kernel's.
pub fn all_chains(nft: &mut Nft) -> Result<Vec<String>, Error> {
    let chains = match nft.chains(&TABLE) {
        Err(Error::NotFound { .. } | Error::Unsupported { .. }) => return Ok(Vec::new()),
        chains => chains?,
    };
    Ok(chains.into_iter().map(|chain| chain.name).filter(|name| name.starts_with(PREFIX)).collect())
}

/// Removes the chains that no gate leads to any more, with their sets. The kernel knows which; it refuses the others.
///
/// # Errors
/// The kernel's.
pub fn sweep(nft: &mut Nft, chains: &[String]) -> Result<(), Error> {
    if chains.is_empty() {
        return Ok(());
    }
    let sets = nft.sets(&TABLE)?;
    for chain in chains {
        let mut tx = Transaction::new();
        tx.delete_chain(&TABLE, chain);
        let own = format!("{chain}-");
        for set in sets.iter().filter(|set| set.name.starts_with(&own)) {
            tx.delete_set(&TABLE, &set.name);
        }
        match nft.commit(&tx) {
            Err(Error::Busy(_) | Error::NotFound { .. }) => {}
            done => done?,
        }
    }
    Ok(())
}

/// The keys that a set of a gate has, and those that end its ranges, as the kernel lists them.
pub fn listed(elements: &[Element]) -> Vec<(Vec<u8>, bool)> {
    let mut keys = Vec::new();
    for element in elements {
        keys.push((element.key.to_bytes(), false));
        keys.extend(element.to.as_ref().and_then(Key::after).map(|end| (end, true)));
    }
    keys.sort();
    keys
}
