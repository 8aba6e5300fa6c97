//! What is no longer as [`Native::add`] left it.

use nft::Error;

use super::{FILTER, MEMBER_ISOLATED, MEMBER_SAME_BRIDGE};
use super::{Native, owned, shared, tables};
use crate::target::Target;

/// A difference: what has changed, what was expected, what was found.
pub type Drift = (String, String, String);

impl Native {
    /// Finds the first difference.
    ///
    /// # Errors
    /// The kernel's.
    pub fn check(&mut self, target: &Target) -> Result<Option<Drift>, Error> {
        let isolated = target.fence.as_ref().is_some_and(|fence| fence.isolated);
        if let Some(drift) = self.check_rules(isolated)? {
            return Ok(Some(drift));
        }
        for (set, elements) in owned(target) {
            for element in elements {
                let found = missing_as_none(self.nft.element(&set.table, set.name, element.key.clone()))?;
                let what = format!("nf_tables set {} {}", set.table, set.name);
                match found.map(|found| found.owner) {
                    None => return Ok(Some((what, format!("element {element}"), "none".to_owned()))),
                    Some(owner) if owner != element.owner => {
                        let owner = owner.map_or_else(|| "nobody".to_owned(), |owner| format!("{owner:?}"));
                        return Ok(Some((
                            what,
                            format!("element {element}"),
                            format!("the element, owned by {owner}"),
                        )));
                    }
                    Some(_) => {}
                }
            }
        }
        let policy = if isolated { MEMBER_ISOLATED } else { MEMBER_SAME_BRIDGE };
        let bridges = target.fence.iter().flat_map(|fence| &fence.bridges);
        for (set, key) in bridges.flat_map(|bridge| shared(bridge, policy)) {
            if missing_as_none(self.nft.element(&FILTER, set, key.clone()))?.is_none() {
                let what = format!("nf_tables set {FILTER} {set}");
                return Ok(Some((what, format!("element {key}"), "none".to_owned())));
            }
        }
        Ok(None)
    }

    fn check_rules(&mut self, isolated: bool) -> Result<Option<Drift>, Error> {
        for expected in tables::chains(isolated) {
            let (table, name) = (&expected.table, &expected.chain.name);
            let what = format!("nf_tables chain {table} {name}");
            let Some(found) = self.nft.chain(table, name)? else {
                // Where the kernel lacks the family, ADD did without.
                if !self.nft.supports(table.family)? {
                    let detail = format!("no tables of family {}", table.family);
                    return Err(Error::Unsupported { operation: format!("read {what}"), detail });
                }
                return Ok(Some((what, "the chain".to_owned(), "none".to_owned())));
            };
            // A policy of drop is the administrator's to set: then only what is recorded here passes.
            let hook = |base: Option<&nft::BaseChain>| base.map(|base| (base.kind, base.hook, base.priority));
            if hook(found.base.as_ref()) != hook(expected.chain.base.as_ref()) {
                let found = found.base.map_or_else(|| "no hook".to_owned(), |base| base.to_string());
                return Ok(Some((what, expected.chain.to_string(), found)));
            }
            let found = self.nft.rules(table, name)?;
            let mut same = found.iter().zip(&expected.rules).map(|(found, rule)| found.is(rule, table.family));
            if found.len() != expected.rules.len() || same.any(|same| !same) {
                let texts = |rules: Vec<String>| rules.join("; ");
                let expected = texts(expected.rules.iter().map(ToString::to_string).collect());
                return Ok(Some((what, expected, texts(found.iter().map(ToString::to_string).collect()))));
            }
        }
        Ok(None)
    }
}

/// A set or table that is gone has no elements.
fn missing_as_none<T>(found: Result<Option<T>, Error>) -> Result<Option<T>, Error> {
    match found {
        Err(e) if e.is_not_found() => Ok(None),
        other => other,
    }
}
