//! What the Go reference's nftables backend (1.6 and later) has: a rule for each port in the table `cni_hostport` of each family,
//! with the container ID as its comment.
//!
//! A rule has no more than that, the ports and the pod's address; the comment does not tell the network. So DEL, which knows the
//! container, can know whose a rule is. GC cannot: it is told the valid attachments of one network, and a container that is
//! not among them may be a living one of another network. Its rules stay until its DEL.

use std::net::{IpAddr, SocketAddr};

use nft::{Error, Expr, Family, Nft, RuleInfo, Selector, Table, Transaction};

use crate::errors;
use crate::mapping::{Mapping, Protocol};

const TABLES: [Table; 2] = [Table::new(Family::Ip, "cni_hostport"), Table::new(Family::Ip6, "cni_hostport")];

/// Refuses a port that another container than `container_id` has there. `tables` are all that there are.
///
/// # Errors
/// Whose it is, or the kernel's.
pub fn refuse_held(
    nft: &mut Nft,
    tables: &[Table],
    network: &str,
    container_id: &str,
    wanted: &[Mapping],
) -> Result<(), cni::Error> {
    for table in TABLES.iter().filter(|table| tables.contains(table)) {
        for rule in nft.table_rules(table).map_err(errors::kernel)? {
            let is_own = rule.comment.as_deref() == Some(container_id);
            let Some(port) = port(&rule).filter(|_| !is_own) else { continue };
            let Some(mapping) = wanted.iter().find(|wanted| port.overlaps(wanted)) else { continue };
            let owner = rule.comment.as_deref().map_or_else(
                || "somebody who left no name".to_owned(),
                |id| format!("container {id:?}, of a network that is not recorded"),
            );
            let what = format!("to {}, chain {} of nf_tables table {table}", port.target, rule.chain);
            return Err(errors::held(network, &mapping.to_string(), &owner, &what));
        }
    }
    Ok(())
}

/// The port that a rule translates: `[ip daddr A] PROTOCOL dport PORT dnat to POD:PORT`. `None` for any other rule.
fn port(rule: &RuleInfo) -> Option<Mapping> {
    let (mut loaded, mut constants) = (None, Vec::new());
    let (mut protocol, mut host_ip, mut host_port) = (None, None, None);
    for expr in &rule.exprs {
        match expr {
            Expr::Load { selector, .. } => loaded = Some(*selector),
            Expr::Cmp { equal: true, value, .. } => match loaded? {
                Selector::L4Proto => protocol = Some(Protocol::from_number(*value.first()?)?),
                Selector::ThDport => host_port = Some(number(value)?),
                Selector::IpDaddr | Selector::Ip6Daddr => host_ip = Some(address(value)?),
                _ => return None,
            },
            Expr::Immediate { value, .. } => constants.push(value),
            Expr::Nat { kind: nft::NatKind::Destination, .. } => {}
            _ => return None,
        }
    }
    let target = SocketAddr::new(address(constants.first()?)?, number(constants.get(1)?)?);
    Some(Mapping { protocol: protocol?, host_ip, host_port: host_port?, target })
}

fn number(bytes: &[u8]) -> Option<u16> {
    bytes.try_into().ok().map(u16::from_be_bytes)
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = || <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from);
    v4().or_else(|| <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from))
}

/// Removes the container's rules.
///
/// # Errors
/// The kernel's.
pub fn remove(nft: &mut Nft, container_id: &str) -> Result<(), Error> {
    for table in TABLES {
        let mut tx = Transaction::new();
        let rules = match nft.table_rules(&table) {
            Err(Error::Unsupported { .. }) => continue,
            rules => rules?,
        };
        for rule in rules {
            if rule.comment.as_deref() == Some(container_id) {
                tx.delete_rule(&table, rule.chain, rule.handle);
            }
        }
        match nft.commit(&tx) {
            // Another DEL came first.
            Err(error) if error.is_not_found() => {}
            done => done?,
        }
    }
    Ok(())
}
