//! GC of interfaces on the node.

use cni::{Attachment, Error, ErrorCode};
use netlink::{Link, Netlink};

use crate::errors::Explain;
use crate::owner::Owner;

/// Removes the interfaces of `network` that `is_kind` and whose owner, told by their alias, is not in `valid`.
///
/// # Errors
/// Those that could not be removed, after the rest was.
pub fn delete_unowned(
    host: &Netlink,
    network: &str,
    valid: &[Attachment],
    is_kind: impl Fn(&Link) -> bool,
) -> Result<(), Error> {
    let links = host.links().explain("the node's interfaces")?;
    let mut failures = Vec::new();
    for link in links.iter().filter(|link| is_kind(link)) {
        let owner = link.alias.as_deref().and_then(Owner::from_alias);
        if owner.is_some_and(|owner| owner.network == network && !valid.contains(&owner.attachment))
            && let Err(e) = host.delete_link(&link.name)
        {
            failures.push(format!("interface {}: {e}", link.name));
        }
    }
    if failures.is_empty() {
        return Ok(());
    }
    Err(Error::new(ErrorCode::INTERNAL, format!("GC of network {network:?}: {}", failures.join("; "))))
}
