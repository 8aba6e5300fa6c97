//! Masquerading by iptables, for `"ipMasqBackend": "iptables"` and kernels without nf_tables: the reference's chains.

use std::collections::BTreeSet;

use cni::{Attachment, Error as CniError, IpConfig};
use iptables::{Error, Family, Line, Make, Programs, Ruleset};
use pod::{Owner, drift};

use crate::Subject;

const TABLE: &str = "nat";

/// Makes the attachment's chain and the jump to it, with one process per family in use.
pub fn add(subject: &Subject<'_>) -> Result<(), Error> {
    for family in Family::ALL {
        let ips: Vec<_> = of_family(subject.ips, family).collect();
        if !ips.is_empty() {
            let (declared, rules) = lines(subject.owner, &ips, family);
            iptables::restore(family, &format!("*{TABLE}\n{declared}\n{}\nCOMMIT\n", rules.join("\n")))?;
        }
    }
    Ok(())
}

/// Finds a line that is not there.
pub fn check(subject: &Subject<'_>) -> Result<(), CniError> {
    for family in Family::ALL {
        let ips: Vec<_> = of_family(subject.ips, family).collect();
        if ips.is_empty() {
            continue;
        }
        let saved = iptables::save(family, TABLE).map_err(crate::failed)?;
        let present: Vec<String> =
            Ruleset::parse(&saved).rules.iter().map(|rule| format!("-A {} {}", rule.chain, rule.spec)).collect();
        for line in lines(subject.owner, &ips, family).1 {
            if !present.contains(&line) {
                return Err(drift(format_args!("ipMasq, table {TABLE}"), line, "no such rule"));
            }
        }
    }
    Ok(())
}

/// Removes the jumps to the attachment's chain, and the chain with the last of them: it is the same for all interfaces
/// of a container. Without `ips` all jumps are this attachment's. Runs nothing where the chain cannot be.
pub fn remove(owner: &Owner, ips: &[IpConfig]) -> Result<(), Error> {
    Family::ALL.into_iter().try_for_each(|family| {
        let sources: Vec<String> =
            of_family(ips, family).map(|ip| format!("-s {}/{} ", ip.address.ip(), host_bits(family))).collect();
        let is_ours = |jump: &Line| ips.is_empty() || sources.iter().any(|source| jump.spec.starts_with(source));
        iptables::remove_chain(family, TABLE, &chain(owner), is_ours)
    })
}

/// Removes the chains of containers of `network` none of whose attachments is in `valid`.
pub fn retain(network: &str, valid: &[Attachment]) -> Result<(), Error> {
    let mut nft = nft::Nft::open().ok();
    let makes = Family::ALL.into_iter().flat_map(|family| Make::ALL.map(|make| (family, make)));
    for (family, make) in makes {
        if !make.has_table(nft.as_mut(), family, TABLE) {
            continue;
        }
        let rules = Ruleset::parse(&Programs::Of(make).save(family, TABLE)?).rules;
        let owners = rules.iter().filter_map(|rule| iptables::owner(&rule.spec));
        let dead = owners.filter(|(of, id)| of == network && !valid.iter().any(|kept| kept.container_id == *id));
        let chains: BTreeSet<String> = dead.map(|(network, id)| iptables::chain_name("", &network, &id)).collect();
        chains.iter().try_for_each(|chain| iptables::remove_chain(family, TABLE, chain, |_| true))?;
    }
    Ok(())
}

fn host_bits(family: Family) -> u8 {
    match family {
        Family::V4 => 32,
        Family::V6 => 128,
    }
}

fn of_family(ips: &[IpConfig], family: Family) -> impl Iterator<Item = &IpConfig> {
    ips.iter().filter(move |ip| Family::of(ip.address.ip()) == family)
}

fn chain(owner: &Owner) -> String {
    iptables::chain_name("", &owner.network, &owner.attachment.container_id)
}

/// The declaration of the chain, which empties it, and the rules, spelt as `iptables-save` prints them.
fn lines(owner: &Owner, ips: &[&IpConfig], family: Family) -> (String, Vec<String>) {
    let chain = chain(owner);
    let comment = iptables::comment(&owner.network, &owner.attachment.container_id).replace('"', "\\\"");
    let comment = format!("-m comment --comment \"{comment}\"");
    let (multicast, host) = match family {
        Family::V4 => ("224.0.0.0/4", host_bits(family)),
        Family::V6 => ("ff00::/8", host_bits(family)),
    };
    let own = |ip: &&IpConfig| {
        format!("-A {chain} -d {}/{} {comment} -j ACCEPT", ip.address.0.network(), ip.address.0.prefix())
    };
    let mut rules: Vec<String> = ips.iter().map(own).collect();
    rules.push(format!("-A {chain} ! -d {multicast} {comment} -j MASQUERADE"));
    rules.extend(ips.iter().map(|ip| format!("-A POSTROUTING -s {}/{host} {comment} -j {chain}", ip.address.ip())));
    (format!(":{chain} - [0:0]"), rules)
}
