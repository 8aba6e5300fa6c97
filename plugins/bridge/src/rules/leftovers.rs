//! What the reference keeps in nf_tables for an attachment: its rules, found by their comments.

use nft::{Error, Family, Nft, Table, Transaction};
use pod::Owner;
use sha2::{Digest, Sha512};

/// The reference's table for `"ipMasqBackend": "nftables"` (1.7 and later).
const MASQUERADE: (Table, &str) = (Table::new(Family::Inet, "cni_plugins_masquerade"), "masq_checks");
/// The reference's tables and base chains for `macspoofchk`: since 1.7 one of its own, before one shared with others.
const SPOOF: [(Table, &str); 2] =
    [(Table::new(Family::Bridge, "cni_spoofcheck"), "prerouting"), (Table::new(Family::Bridge, "nat"), "PREROUTING")];

/// Removes the reference's rules for the attachment, if there are any.
pub fn remove_nft(nft: &mut Nft, owner: &Owner) -> Result<(), Error> {
    let mut transaction = Transaction::new();
    let (table, chain) = &MASQUERADE;
    let instance = instance_hash(owner);
    if nft.chain(table, chain).or_else(none_if_missing)?.is_some() {
        for rule in nft.rules(table, chain)? {
            if rule.comment.as_deref().is_some_and(|comment| comment.starts_with(&instance)) {
                transaction.destroy_rule(table, *chain, rule.handle);
            }
        }
    }
    // The spoof check's chains are called after the attachment, and a rule of the base chain leads to the first.
    let id = format!("{}-{}", owner.attachment.container_id, owner.attachment.ifname);
    let chains = [format!("cni-br-iface-{id}"), format!("cni-br-iface-{id}-mac")];
    for (table, prerouting) in &SPOOF {
        if nft.chain(table, &chains[0]).or_else(none_if_missing)?.is_none() {
            continue;
        }
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

/// How the comment of each of the reference's masquerade rules begins: a hash of the network, and one of the rest.
fn instance_hash(owner: &Owner) -> String {
    let of_network = short_hash(&owner.network);
    let of_rest = short_hash(&format!("{}:{}", owner.attachment.ifname, owner.attachment.container_id));
    format!("{of_network}-{of_rest}")
}

fn short_hash(text: &str) -> String {
    Sha512::digest(text).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

fn none_if_missing<T>(error: Error) -> Result<Option<T>, Error> {
    if error.is_not_found() { Ok(None) } else { Err(error) }
}
