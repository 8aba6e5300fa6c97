//! What the reference keeps in nf_tables for `macspoofchk`: chains called after the attachment.

use nft::{Error, Family, Nft, Table, Transaction};
use pod::Owner;

/// Its tables and base chains: since 1.7 one of its own, before one shared with others.
const SPOOF: [(Table, &str); 2] =
    [(Table::new(Family::Bridge, "cni_spoofcheck"), "prerouting"), (Table::new(Family::Bridge, "nat"), "PREROUTING")];

/// Removes the reference's rules for the attachment, if there are any.
pub fn remove(nft: &mut Nft, owner: &Owner) -> Result<(), Error> {
    let mut transaction = Transaction::new();
    let id = format!("{}-{}", owner.attachment.container_id, owner.attachment.ifname);
    let chains = [format!("cni-br-iface-{id}"), format!("cni-br-iface-{id}-mac")];
    for (table, prerouting) in &SPOOF {
        if nft.chain(table, &chains[0]).or_else(none_if_missing)?.is_none() {
            continue;
        }
        // A rule of the base chain leads to the first.
        for rule in nft.rules(table, prerouting)? {
            if rule.comment.as_deref().is_some_and(|comment| comment == format!("macspoofchk-{id}")) {
                transaction.destroy_rule(table, *prerouting, rule.handle);
            }
        }
        // The first jumps to the second: emptied before either can go.
        transaction.flush_chain(table, &*chains[0]);
        chains.iter().for_each(|chain| _ = transaction.destroy_chain(table, &**chain));
    }
    nft.commit(&transaction)
}

fn none_if_missing<T>(error: Error) -> Result<Option<T>, Error> {
    if error.is_not_found() { Ok(None) } else { Err(error) }
}
