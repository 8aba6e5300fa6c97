//! What the reference's nf_tables backend keeps for an attachment (1.7 and later): its rules, found by their comments.

use nft::{Error, Family, Nft, Table, Transaction};
use pod::Owner;
use sha2::{Digest, Sha512};

const TABLE: Table = Table::new(Family::Inet, "cni_plugins_masquerade");
const CHAIN: &str = "masq_checks";

/// Removes the reference's rules for the attachment, if there are any.
pub fn remove(nft: &mut Nft, owner: &Owner) -> Result<(), Error> {
    let rules = match nft.rules(&TABLE, CHAIN) {
        Err(e) if e.is_not_found() => return Ok(()),
        rules => rules?,
    };
    let instance = instance_hash(owner);
    let mut transaction = Transaction::new();
    for rule in rules {
        if rule.comment.as_deref().is_some_and(|comment| comment.starts_with(&instance)) {
            transaction.destroy_rule(&TABLE, CHAIN, rule.handle);
        }
    }
    nft.commit(&transaction)
}

/// How the comment of each of these rules begins: a hash of the network, and one of the rest.
fn instance_hash(owner: &Owner) -> String {
    let of_network = short_hash(&owner.network);
    let of_rest = short_hash(&format!("{}:{}", owner.attachment.ifname, owner.attachment.container_id));
    format!("{of_network}-{of_rest}")
}

fn short_hash(text: &str) -> String {
    Sha512::digest(text).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}
