//! CHECK: every way in which the table can have drifted from what ADD made.

use cni::Error;
use nft::Nft;
use pod::drift;

use super::layout::{self, TABLE};
use super::record::claim_key;
use super::{Wanted, claims, gates, store};
use crate::errors::kernel;

/// Compares the chains, their rules and the attachment's elements with what ADD makes.
///
/// # Errors
/// The first difference.
pub fn check(nft: &mut Nft, wanted: &Wanted) -> Result<(), Error> {
    structure(nft, wanted)?;
    for (set, element) in wanted.elements() {
        let found = store::get(nft, set, element.key.clone()).map_err(kernel)?;
        if !found.as_ref().is_some_and(|found| found.is(&element)) {
            let found = match found {
                None => "none".to_owned(),
                Some(found) => {
                    format!("one of {} that holds {:?}", found.owner.as_deref().unwrap_or("nobody"), found.data)
                }
            };
            return Err(drift(format_args!("{TABLE} {set}"), format_args!("the element {element}"), found));
        }
    }
    let recorded = store::recorded(nft, &wanted.tag).map_err(kernel)?;
    if recorded.len() != wanted.mappings.len() {
        let expected = format!("{} entries of {}", wanted.mappings.len(), wanted.tag);
        return Err(drift(format_args!("{TABLE} {}", layout::OWNED), expected, recorded.len()));
    }
    for (key, count) in claims::counts(&recorded) {
        let found = claims::claimed(nft, key).map_err(kernel)?;
        // Others may have the port on other addresses.
        let holds = found.is_some_and(|found| if count == 0 { found == 0 } else { found >= count });
        if !holds {
            let what = format!("{TABLE} {} {}", layout::CLAIMS, claim_key(key));
            return Err(drift(what, count, format_args!("{found:?}")));
        }
    }
    Ok(())
}

fn structure(nft: &mut Nft, wanted: &Wanted) -> Result<(), Error> {
    let mut chains = layout::chains();
    for gate in wanted.gates() {
        for (set, elements) in gate.sets {
            let what = format!("{TABLE} {}", set.name);
            let found = nft.elements_if_there(&TABLE, &set.name).map_err(kernel)?;
            let mut found: Vec<_> = found.into_iter().map(|element| (element.key, element.interval_end)).collect();
            found.sort();
            if found != gates::listed(&elements) {
                let list = elements.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
                return Err(drift(what, list, format_args!("{} other keys", found.len())));
            }
        }
        chains.push((gate.chain, gate.rules));
    }
    for (chain, rules) in chains {
        let what = format!("chain {} of nf_tables table {TABLE}", chain.name);
        let found = nft.chain(&TABLE, &chain.name).map_err(kernel)?;
        let found = found.ok_or_else(|| drift(&what, "a chain", "none"))?;
        if found.base != chain.base {
            let text =
                |base: Option<nft::BaseChain>| base.map_or_else(|| "no hook".to_owned(), |base| base.to_string());
            return Err(drift(what, text(chain.base), text(found.base)));
        }
        let present = nft.rules(&TABLE, &chain.name).map_err(kernel)?;
        let same = present.len() == rules.len()
            && present.iter().zip(&rules).all(|(found, rule)| found.is(rule, TABLE.family));
        if !same {
            let list = |rules: Vec<String>| rules.join("; ");
            let expected = list(rules.iter().map(ToString::to_string).collect());
            return Err(drift(what, expected, list(present.iter().map(ToString::to_string).collect())));
        }
    }
    Ok(())
}
