//! Removing a container's chains, whoever made them: this plugin or the Go reference.

use cni::Attachment;
use iptables::{Error, Family, Make, Programs, Ruleset, chain_name};
use nft::Nft;

use super::{DNAT, NAT, rules};
use crate::native::Record;

/// How often others may change the table between our looking and our removing.
const ATTEMPTS: usize = 5;

/// Removes the container's chains of both families, and the jumps to them; what they mapped. No process is run where there can
/// be none.
///
/// # Errors
/// iptables'.
pub fn remove(network: &str, container_id: &str) -> Result<Vec<Record>, Error> {
    // The reference made the second before 2018.
    let chains = [chain_name("DN-", network, container_id), chain_name("SN-", network, container_id)];
    remove_where(&chains, |_| chains.to_vec())
}

/// Removes the chains of `network`'s containers that are not in `valid`; what they mapped.
///
/// # Errors
/// iptables'.
pub fn gc(network: &str, valid: &[Attachment]) -> Result<Vec<Record>, Error> {
    let kept: Vec<String> = valid.iter().map(|valid| chain_name("DN-", network, &valid.container_id)).collect();
    let comment = rules::comment_of(network);
    let dead = |saved: &Ruleset| {
        let jumps = saved.rules.iter().filter(|rule| rule.chain == DNAT && rule.spec.contains(&comment));
        let chains = jumps.filter_map(|rule| rule.target()).filter(|chain| chain.starts_with("CNI-DN-"));
        let mut dead: Vec<String> =
            chains.filter(|chain| !kept.iter().any(|kept| kept == chain)).map(str::to_owned).collect();
        dead.sort();
        dead.dedup();
        dead
    };
    remove_where(&[DNAT.to_owned()], dead)
}

/// Removes the chains that `dead` names, in each family and make of iptables that has one of `any`; what they mapped.
fn remove_where(any: &[String], dead: impl Fn(&Ruleset) -> Vec<String>) -> Result<Vec<Record>, Error> {
    let mut nft = Nft::open().ok();
    let mut removed = Ok(Vec::new());
    for (family, make) in Family::ALL.into_iter().flat_map(|family| Make::ALL.map(|make| (family, make))) {
        if any.iter().any(|chain| make.has_chain(nft.as_mut(), family, NAT, chain)) {
            removed = both(removed, remove_chains(Programs::Of(make), family, &dead));
        }
    }
    removed
}

/// The first error, after both were tried.
fn both(a: Result<Vec<Record>, Error>, b: Result<Vec<Record>, Error>) -> Result<Vec<Record>, Error> {
    let (mut a, b) = (a?, b?);
    a.extend(b);
    Ok(a)
}

fn remove_chains(
    programs: Programs,
    family: Family,
    chains: &dyn Fn(&Ruleset) -> Vec<String>,
) -> Result<Vec<Record>, Error> {
    let mut attempt = 1;
    loop {
        let saved = Ruleset::parse(&programs.save(family, NAT)?);
        let chains = chains(&saved);
        let script: String = chains.iter().map(|chain| saved.removal(NAT, chain, |_| true)).collect();
        if script.is_empty() {
            return Ok(Vec::new());
        }
        match programs.restore(family, &script) {
            Ok(()) => return Ok(records(family, &saved, &chains)),
            // Another DEL or GC came first.
            Err(Error::Failed { .. }) if attempt < ATTEMPTS => attempt += 1,
            Err(error) => return Err(error),
        }
    }
}

fn records(family: Family, saved: &Ruleset, chains: &[String]) -> Vec<Record> {
    let own = saved.rules.iter().filter(|rule| chains.contains(&rule.chain));
    let ports = own.filter_map(|rule| rules::read(family, &rule.chain, &rule.spec, ""));
    ports
        .map(|port| Record {
            protocol: port.protocol,
            host_port: port.host_port,
            host_ip: port.host_ip,
            pod: port.target.ip(),
            via: String::new(),
        })
        .collect()
}
