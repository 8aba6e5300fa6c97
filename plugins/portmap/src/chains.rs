//! The iptables backend: the reference's chains, names and rules, of the nat table.
//!
//! | chain | what is in it |
//! | --- | --- |
//! | `CNI-HOSTPORT-DNAT` | jumps to the chain of each container, by protocol and port |
//! | `CNI-DN-<hash>` | a container's ports: what is masqueraded, and where they lead |
//! | `CNI-HOSTPORT-SETMARK`, `CNI-HOSTPORT-MASQ` | the mark that masquerading goes by |
//!
//! Ours alone is `CNI-HOSTPORT-GUARD` of the raw table: see `localnet.rs`.

mod remove;
mod rules;

use cni::{Error, ErrorCode};
use iptables::{Family, Make, Programs, Ruleset, chain_name, may_have_chain, restore, save};
use nft::{Nft, Table};
use pod::drift;

use crate::config::{Config, SetMark};
use crate::errors::{held, kernel, program};
use crate::mapping::{Mapping, PodAddresses};

pub use remove::{gc, remove};

const NAT: &str = "nat";
const RAW: &str = "raw";
const DNAT: &str = "CNI-HOSTPORT-DNAT";
const SETMARK: &str = "CNI-HOSTPORT-SETMARK";
const MASQ: &str = "CNI-HOSTPORT-MASQ";
const GUARD: &str = "CNI-HOSTPORT-GUARD";
/// Held from looking whether a port is free to taking it. iptables has no way to do both at once.
const LOCK: &str = "/run/podlink-portmap.lock";

/// What an attachment is to have.
pub struct Chains<'a> {
    /// The config.
    pub config: &'a Config,
    /// The network's name.
    pub network: &'a str,
    /// The container.
    pub container_id: &'a str,
    /// The pod's addresses.
    pub addresses: &'a PodAddresses,
    /// Its host ports.
    pub mappings: &'a [Mapping],
}

impl Chains<'_> {
    /// Makes the rules; done again, it replaces them. One `iptables-save` and one `iptables-restore` per family.
    ///
    /// # Errors
    /// That another container has a port, or iptables'.
    pub fn add(&self) -> Result<(), Error> {
        let locking = |e| Error::new(ErrorCode::IO, format!("locking {LOCK}: {e}"));
        let _lock = iptables::lock(LOCK).map_err(locking)?;
        let mut scripts = Vec::new();
        for family in self.families() {
            let saved = Ruleset::parse(&save(family, NAT).map_err(program)?);
            self.refuse_held(family, &saved)?;
            scripts.push((family, self.script(family, &saved)));
        }
        for (family, mut script) in scripts {
            if family == Family::V4 && self.config.snat && !guard_stands().map_err(program)? {
                script.push_str(&rules::guard());
            }
            restore(family, &script).map_err(program)?;
        }
        Ok(())
    }

    /// Refuses a port that a container has in these chains, of either make of iptables but those that `knows` is true for: on a
    /// node that is upgraded, the Go reference's are still there. `tables` are all of nf_tables. Runs a process only where the
    /// kernel says that there are such chains.
    ///
    /// # Errors
    /// That another container has a port, or the kernel's or iptables'.
    pub fn refuse_held_here(
        &self,
        nft: &mut Nft,
        tables: &[Table],
        knows: impl Fn(Family, Programs) -> bool,
    ) -> Result<(), Error> {
        for family in self.families() {
            let table = match family {
                Family::V4 => Table::new(nft::Family::Ip, NAT),
                Family::V6 => Table::new(nft::Family::Ip6, NAT),
            };
            let in_nft = tables.contains(&table) && !nft.rules(&table, DNAT).map_err(kernel)?.is_empty();
            let in_legacy = || Make::Legacy.has_chain(None, family, NAT, DNAT);
            for (make, is_there) in [(Make::Nft, in_nft), (Make::Legacy, in_legacy())] {
                let programs = Programs::Of(make);
                if !is_there || knows(family, programs) {
                    continue;
                }
                match programs.save(family, NAT) {
                    // In a container's tables, say, of which nobody on this node can tell more.
                    Err(missing @ iptables::Error::Missing { .. }) => {
                        cni::note(format_args!("whose host ports {DNAT} has cannot be found out: {missing}"));
                    }
                    saved => self.refuse_held(family, &Ruleset::parse(&saved.map_err(program)?))?,
                }
            }
        }
        Ok(())
    }

    /// Compares the chains with what ADD makes.
    ///
    /// # Errors
    /// The first difference.
    pub fn check(&self) -> Result<(), Error> {
        let own = self.own_chain();
        for family in self.families() {
            let saved = Ruleset::parse(&save(family, NAT).map_err(program)?);
            let of = |chain: &str| -> Vec<String> {
                saved.rules.iter().filter(|rule| rule.chain == chain).map(|rule| rule.spec.clone()).collect()
            };
            let expect = |what: &str, chain: &str, expected: &[String]| {
                let found = of(chain);
                match expected.iter().find(|rule| !found.contains(rule)) {
                    Some(missing) => {
                        Err(drift(format_args!("{what} {chain} of iptables table nat"), missing, found.join("; ")))
                    }
                    None => Ok(()),
                }
            };
            let expected = self.rules(family);
            if of(&own) != expected {
                let what = format!("chain {own} of iptables table nat");
                return Err(drift(what, expected.join("; "), of(&own).join("; ")));
            }
            if self.conditions(family).is_empty() {
                expect("chain", DNAT, &self.entries(family))?;
            } else if !saved.rules.iter().any(|rule| rule.chain == DNAT && rule.target() == Some(&own)) {
                return Err(drift(format_args!("chain {DNAT}"), format_args!("a jump to {own}"), "none"));
            }
            for (chain, target) in self.hooks() {
                if !saved.rules.iter().any(|rule| rule.chain == chain && rule.target() == Some(target)) {
                    return Err(drift(
                        format_args!("chain {chain} of iptables table nat"),
                        format_args!("a jump to {target}"),
                        "none",
                    ));
                }
            }
            for (chain, rule) in self.mark_rules() {
                expect("chain", chain, &[rule])?;
            }
            if family == Family::V4 && self.config.snat && !guard_stands().map_err(program)? {
                return Err(drift("chain PREROUTING of iptables table raw", format_args!("a jump to {GUARD}"), "none"));
            }
        }
        Ok(())
    }

    fn families(&self) -> Vec<Family> {
        let has = |family: &Family| self.mappings.iter().any(|mapping| Family::of(mapping.target.ip()) == *family);
        Family::ALL.into_iter().filter(has).collect()
    }

    fn own_chain(&self) -> String {
        chain_name("DN-", self.network, self.container_id)
    }

    fn conditions(&self, family: Family) -> &[String] {
        match family {
            Family::V4 => &self.config.conditions_v4,
            Family::V6 => &self.config.conditions_v6,
        }
    }

    /// The chains that packets come from, and the shared ones they go to.
    fn hooks(&self) -> Vec<(&'static str, &'static str)> {
        let mut hooks = vec![("PREROUTING", DNAT), ("OUTPUT", DNAT)];
        if self.config.snat && matches!(self.config.set_mark, SetMark::Bit(_)) {
            hooks.push(("POSTROUTING", MASQ));
        }
        hooks
    }

    /// Refuses what another container has; of one container's networks, the first that is asked gets the packets. One whose connections go by conditions may share a port.
    fn refuse_held(&self, family: Family, saved: &Ruleset) -> Result<(), Error> {
        if !self.conditions(family).is_empty() {
            return Ok(());
        }
        let own = format!("id: \"{}\"", self.container_id);
        for other in rules::ports(family, saved) {
            let Some(wanted) = self.mappings.iter().find(|mapping| other.takes(mapping)) else { continue };
            if other.chain != self.own_chain() && !other.owner.ends_with(&own) {
                let what = format!("to {}, chain {} of iptables", other.target, other.chain);
                return Err(held(self.network, &wanted.to_string(), &other.owner, &what));
            }
        }
        Ok(())
    }
}

/// Whether packets with loopback addresses from elsewhere are dropped.
fn guard_stands() -> Result<bool, iptables::Error> {
    if !may_have_chain(Family::V4, RAW, GUARD) {
        return Ok(false);
    }
    let saved = Ruleset::parse(&save(Family::V4, RAW)?);
    Ok(saved.rules.iter().any(|rule| rule.chain == "PREROUTING" && rule.target() == Some(GUARD)))
}

/// Whether iptables works here.
///
/// # Errors
/// Why not.
pub fn available() -> Result<(), iptables::Error> {
    save(Family::V4, NAT).map(drop)
}
