//! What the Go reference's nftables backend (1.6 and later) leaves: a rule for each port, with the container ID as its comment.
//!
//! The comment does not tell the network, so only DEL, which knows the container, can know whose a rule is; GC cannot.

use nft::{Error, Family, Nft, Table, Transaction};

const TABLES: [Table; 2] = [Table::new(Family::Ip, "cni_hostport"), Table::new(Family::Ip6, "cni_hostport")];

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
