//! The iptables backend: the reference's chains, rules and comments in the `filter` table.
//!
//! Other tools parse them, and a node that is upgraded or rolled back has pods of both implementations. So the rules of a
//! pod are exactly the reference's, which say nothing of their owner; that is recorded in our own table. Only where the
//! kernel has no nf_tables to record it in, a comment names the owner.

mod plan;

use std::fs::File;
use std::net::IpAddr;

use iptables::{Error, Family, Ruleset};
use pod::Owner;

pub use plan::Wanted;

/// The only table with rules about what is forwarded.
const TABLE: &str = "filter";
/// The kernel's chain for packets between interfaces.
const FORWARD: &str = "FORWARD";
/// The reference's chain with the pods' rules.
const PRIVATE: &str = "CNI-FORWARD";
/// Held from looking what is missing to adding it: programs that do so at the same time would add it twice.
pub const LOCK: &str = "/run/podlink-firewall.lock";
/// How often to look again when a script does not fit what another process has changed meanwhile.
const ATTEMPTS: u32 = 16;

/// Whether what passes is decided by iptables' rules: it drops what nobody lets pass, or pods have rules there already.
///
/// A packet must pass all tables. Where iptables' drops by default, only a rule in that very table lets a pod's packets
/// through. (So nobody can help a pod where somebody else's nf_tables chain, which is not iptables', has a policy of drop.)
///
/// # Errors
/// iptables', where it has to be asked.
pub fn decide(family: Family, nft: Option<&mut nft::Nft>) -> Result<bool, Error> {
    let drops = nft.is_some_and(|nft| drops_in_nft(family, nft) || has_pods_in_nft(family, nft));
    if drops || !iptables::may_have_chain(family, TABLE, PRIVATE) {
        return Ok(drops);
    }
    // The older tables only tell that they are in use.
    let saved = iptables::save(family, TABLE)?;
    let declares = |line: &str| line.starts_with(":FORWARD DROP ") || line.starts_with(":CNI-FORWARD ");
    Ok(saved.lines().any(declares))
}

/// Whether the rules that [`add`] made are not where packets are dropped: in nf_tables, while the programs called iptables
/// here are those of the older tables.
pub fn are_elsewhere(family: Family, nft: &mut nft::Nft) -> bool {
    drops_in_nft(family, nft) && !has_pods_in_nft(family, nft)
}

fn nft_table(family: Family) -> nft::Table {
    nft::Table::new(if family == Family::V4 { nft::Family::Ip } else { nft::Family::Ip6 }, TABLE)
}

fn drops_in_nft(family: Family, nft: &mut nft::Nft) -> bool {
    let base = nft.chain(&nft_table(family), FORWARD).ok().flatten().and_then(|chain| chain.base);
    base.is_some_and(|base| base.policy == nft::Policy::Drop)
}

fn has_pods_in_nft(family: Family, nft: &mut nft::Nft) -> bool {
    nft.chain(&nft_table(family), PRIVATE).is_ok_and(|chain| chain.is_some())
}

/// Keeps other ADDs of ours from adding at the same time, until it is dropped or the process ends.
///
/// # Errors
/// The file's.
pub fn lock() -> Result<File, std::io::Error> {
    let file = File::options().create(true).append(true).open(LOCK)?;
    file.lock()?;
    Ok(file)
}

/// Adds what is missing. The caller holds the [`lock`].
///
/// # Errors
/// iptables'.
pub fn add(family: Family, wanted: &Wanted<'_>) -> Result<(), Error> {
    apply(family, &|ruleset| wanted.missing(ruleset))
}

/// The lines of a script that [`add`] would run now: what is missing.
///
/// # Errors
/// iptables'.
pub fn missing(family: Family, wanted: &Wanted<'_>) -> Result<Vec<String>, Error> {
    Ok(wanted.missing(&Ruleset::parse(&iptables::save(family, TABLE)?)))
}

/// Removes the rules for these addresses, whoever made them, and those whose comment names an owner that is `gone`. Without
/// the chain no process is run.
///
/// # Errors
/// iptables'.
pub fn remove(family: Family, addresses: &[IpAddr], gone: &dyn Fn(&Owner) -> bool) -> Result<(), Error> {
    if !iptables::may_have_chain(family, TABLE, PRIVATE) {
        return Ok(());
    }
    apply(family, &|ruleset| plan::surplus(ruleset, addresses, gone))
}

/// Removes the fences of bridges that are `gone`. Without the chain no process is run.
///
/// # Errors
/// iptables'.
pub fn remove_dead_fences(family: Family, gone: &dyn Fn(&str) -> bool) -> Result<(), Error> {
    if !iptables::may_have_chain(family, TABLE, plan::STAGE1) {
        return Ok(());
    }
    apply(family, &|ruleset| plan::dead_fences(ruleset, gone))
}

/// Runs the script that `plan` makes of what is there. Removals and other programs take no lock between reading and writing:
/// where one of them was faster, the script does not apply, as a whole, and a new one is made.
fn apply(family: Family, plan: &dyn Fn(&Ruleset) -> Vec<String>) -> Result<(), Error> {
    let mut before = Vec::new();
    for attempt in 1.. {
        let lines = plan(&Ruleset::parse(&iptables::save(family, TABLE)?));
        if lines.is_empty() {
            return Ok(());
        }
        match iptables::restore(family, &format!("*{TABLE}\n{}\nCOMMIT\n", lines.join("\n"))) {
            // The same script twice: it is not the other process that makes it fail.
            Err(Error::Failed { .. }) if attempt < ATTEMPTS && lines != before => before = lines,
            other => return other,
        }
    }
    Ok(())
}

/// Whether iptables can be used at all.
///
/// # Errors
/// Why not.
pub fn usable(family: Family) -> Result<(), Error> {
    iptables::save(family, TABLE).map(drop)
}
