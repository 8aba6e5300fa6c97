//! The iptables backend: the reference's chains, rules and comments in the `filter` table.
//!
//! Other tools parse them, and a node that is upgraded or rolled back has pods of both implementations. So the rules of a
//! pod are exactly the reference's, which say nothing of their owner; that is recorded in our own table. Only where the
//! kernel has no nf_tables to record it in, a comment names the owner.

mod plan;

use std::net::IpAddr;

use iptables::{Error, Family, Make, Programs, Ruleset};
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

/// The programs to tell about a pod where the config does not say so: of each make whose rules decide what passes, because it
/// drops what nobody lets pass, or because pods have rules there already. Asks the kernel, without a process.
///
/// A packet must pass all tables. Where those of one make drop by default, only a rule in that very table lets a pod's packets
/// through. (So nobody can help a pod where somebody else's nf_tables chain, which is not iptables', has a policy of drop.)
pub fn deciding(family: Family, nft: Option<&mut nft::Nft>) -> Vec<Programs> {
    having(nft, |make, mut nft| {
        make.drops_forwarded(nft.as_deref_mut(), family) || make.has_chain(nft, family, TABLE, PRIVATE)
    })
}

/// The programs to tell about a pod where the config asks for iptables: what the node calls so, and those of the other make if
/// that drops, too.
pub fn asked_for(family: Family, nft: Option<&mut nft::Nft>) -> Vec<Programs> {
    let of_node = Programs::of_node(family);
    let mut programs = having(nft, |make, nft| make.drops_forwarded(nft, family));
    programs.retain(|programs| *programs != of_node);
    programs.insert(0, of_node);
    programs
}

/// The programs of the makes that `chain` is in.
fn having_chain(family: Family, chain: &str) -> Vec<Programs> {
    let mut nft = nft::Nft::open().ok();
    having(nft.as_mut(), |make, nft| make.has_chain(nft, family, TABLE, chain))
}

fn having(mut nft: Option<&mut nft::Nft>, has: impl Fn(Make, Option<&mut nft::Nft>) -> bool) -> Vec<Programs> {
    Make::ALL.into_iter().filter(|make| has(*make, nft.as_deref_mut())).map(Programs::Of).collect()
}

/// Adds what is missing. The caller holds the [`lock`].
///
/// # Errors
/// iptables'.
pub fn add(programs: Programs, family: Family, wanted: &Wanted<'_>) -> Result<(), Error> {
    apply(programs, family, &|ruleset| wanted.missing(ruleset))
}

/// The lines of a script that [`add`] would run now: what is missing.
///
/// # Errors
/// iptables'.
pub fn missing(programs: Programs, family: Family, wanted: &Wanted<'_>) -> Result<Vec<String>, Error> {
    Ok(wanted.missing(&Ruleset::parse(&programs.save(family, TABLE)?)))
}

/// Removes the rules for these addresses, whoever made them, and those whose comment names an owner that is `gone`. Without
/// the chain no process is run.
///
/// # Errors
/// iptables'.
pub fn remove(family: Family, addresses: &[IpAddr], gone: &dyn Fn(&Owner) -> bool) -> Result<(), Error> {
    let surplus = |ruleset: &Ruleset| plan::surplus(ruleset, addresses, gone);
    having_chain(family, PRIVATE).into_iter().try_for_each(|programs| apply(programs, family, &surplus))
}

/// Removes the fences of bridges that are `gone`. Without the chain no process is run.
///
/// # Errors
/// iptables'.
pub fn remove_dead_fences(family: Family, gone: &dyn Fn(&str) -> bool) -> Result<(), Error> {
    let dead = |ruleset: &Ruleset| plan::dead_fences(ruleset, gone);
    having_chain(family, plan::STAGE1).into_iter().try_for_each(|programs| apply(programs, family, &dead))
}

/// Runs the script that `plan` makes of what is there. Removals and other programs take no lock between reading and writing:
/// where one of them was faster, the script does not apply, as a whole, and a new one is made.
fn apply(programs: Programs, family: Family, plan: &dyn Fn(&Ruleset) -> Vec<String>) -> Result<(), Error> {
    let mut before = Vec::new();
    for attempt in 1.. {
        let lines = plan(&Ruleset::parse(&programs.save(family, TABLE)?));
        if lines.is_empty() {
            return Ok(());
        }
        match programs.restore(family, &format!("*{TABLE}\n{}\nCOMMIT\n", lines.join("\n"))) {
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
