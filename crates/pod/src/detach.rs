//! DEL and GC of an attachment that is a veth pair, in the order that keeps them safe.

use cni::{Attachment, AttachmentCall, Delegate, Error, IpConfig, NetworkCall};
use netlink::{Link, Netlink};

use crate::errors::Explain;
use crate::owner::Owner;
use crate::unowned::delete_unowned;

/// DEL: the pair, by its name or else as `delete_others` finds it, then the rules, then the address. An address only after its link: it
/// must not be given to another pod while this one can still use it. The caller has the attachment's [`Turn`](crate::Turn).
///
/// # Errors
/// The first of them; what comes after it stays for the next DEL.
pub fn detach(
    host: &Netlink,
    call: &AttachmentCall,
    delete_others: impl FnOnce() -> Result<(), Error>,
    remove_rules: impl Fn(&[IpConfig]) -> Result<(), Error>,
) -> Result<(), Error> {
    let config = &call.network.config;
    let release = || {
        call.step("remove the rules", || remove_rules(&config.prev_result_if_valid().ips))?;
        config.ipam_type()?.map_or(Ok(()), |plugin| Delegate::find(&call.network, &plugin)?.del())
    };
    let link = Owner::of(call).host_name();
    let deleted = call.step("delete the veth pair", || host.delete_link_then(&link, release));
    match deleted.explain(format_args!("interface {link}"))? {
        Some(released) => released,
        None => delete_others().and_then(|()| release()),
    }
}

/// GC: the pairs of the network's attachments that are not in `valid`, their rules, and, in the same order as of DEL, their addresses.
///
/// # Errors
/// Those that could not be removed, after the rest was.
pub fn collect(
    host: &Netlink,
    call: &NetworkCall,
    valid: &[Attachment],
    remove_rules: impl FnOnce() -> Result<(), Error>,
) -> Result<(), Error> {
    let network = &call.config.name;
    let unlinked = call.step("delete links without an owner", || delete_unowned(host, network, valid, Link::is_veth));
    let unruled = call.step("remove rules without an owner", remove_rules);
    unlinked.and_then(|()| match call.config.ipam_type()? {
        Some(plugin) => Delegate::find(call, &plugin)?.gc(),
        None => Ok(()),
    })?;
    unruled
}
