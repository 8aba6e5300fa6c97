//! The ifb device that what a pod sends is led through.

use cni::{Error, ErrorCode};
use netlink::{Filter, Handle, Link, LinkChange, LinkKind, Netlink, NewIfb, Qdisc};
use pod::{Explain, Owner, drift};
use sha2::{Digest, Sha512};

/// The name the reference gives the container's ifb in this network. Ours has it, too, unless it is taken by another
/// interface of the container (for which the reference fails).
fn shared_name(owner: &Owner) -> String {
    name(&[&owner.network, &owner.attachment.container_id])
}

/// A name that only this attachment has. `/` is in none of the parts.
fn own_name(owner: &Owner) -> String {
    name(&[&owner.network, &owner.attachment.container_id, "/", &owner.attachment.ifname])
}

/// `bwp` and the first twelve hex digits of the SHA-512 (pkg/utils in the reference).
fn name(parts: &[&str]) -> String {
    let hash = Sha512::digest(parts.concat());
    hash[..6].iter().fold("bwp".to_owned(), |name, byte| format!("{name}{byte:02x}"))
}

/// Whether it is the kind of device that shapes what a pod sends.
pub fn is_ifb(link: &Link) -> bool {
    link.kind == LinkKind::Other("ifb".to_owned())
}

fn owner_of(link: &Link) -> Option<Owner> {
    link.alias.as_deref().and_then(Owner::from_alias)
}

/// Makes the device, with the MTU and the queue length of `end`, and switches it on.
///
/// It is born under the name that nobody else has and gets the shared one together with its alias: so there is no
/// moment in which another ADD could take it for a leftover.
///
/// # Errors
/// The kernel's.
pub fn create(host: &Netlink, owner: &Owner, end: &Link) -> Result<Link, Error> {
    let (own, shared) = (own_name(owner), shared_name(owner));
    let doing = format!("ifb {own} for {}", owner.attachment);
    let new = NewIfb { name: &own, mtu: end.mtu, tx_queue_len: end.tx_queue_len, up: false };
    match host.create_ifb(&new) {
        // An ADD of this attachment was killed.
        Err(e) if e.is_exists() => {
            delete_link(host, &own)?;
            host.create_ifb(&new).explain(&doing)?;
        }
        made => made.explain(&doing)?,
    }
    let mut index = None;
    let finished = host.link(&own).explain(&doing).and_then(|ifb| {
        let mut ifb = ifb.ok_or_else(|| {
            Error::new(ErrorCode::TRY_AGAIN_LATER, format!("interface {own} vanished while it was being set up"))
        })?;
        index = Some(ifb.index);
        if let Some(name) = name_and_switch_on(host, owner, ifb.index, &shared).explain(&doing)? {
            ifb.name = name;
        }
        Ok(ifb)
    });
    finished.inspect_err(|_| {
        // The caller does not know of it yet; if this fails too, DEL finds it by its name.
        let _ = match index {
            Some(index) => host.delete_link(index),
            None => host.delete_link(&own),
        };
    })
}

/// `None` where the shared name is another's.
fn name_and_switch_on(
    host: &Netlink,
    owner: &Owner,
    index: u32,
    shared: &str,
) -> Result<Option<String>, netlink::Error> {
    let change = LinkChange { up: Some(true), alias: owner.alias(), ..LinkChange::default() };
    let named = LinkChange { name: Some(shared.to_owned()), ..change.clone() };
    let taken = match host.change_link(index, &named) {
        Err(e) if e.is_exists() => host.link(shared)?,
        done => return done.map(|()| Some(shared.to_owned())),
    };
    // An earlier ADD of this very attachment: nothing may still be led through it.
    if taken.as_ref().and_then(owner_of).as_ref() == Some(owner) {
        host.delete_link(shared)?;
        return host.change_link(index, &named).map(|()| Some(shared.to_owned()));
    }
    host.change_link(index, &change).map(|()| None)
}

/// Leads what comes in by `end` through `ifb`.
///
/// # Errors
/// When somebody else has put filters there.
pub fn redirect(host: &Netlink, end: &Link, ifb: &Link) -> Result<(), Error> {
    let doing = format!("leading what {} receives through {}", end.name, ifb.name);
    match host.add_ingress(end.index) {
        Err(e) if e.is_exists() => {
            let filters = host.filters(end.index, Handle::INGRESS_QDISC).explain(&doing)?;
            let of_an_earlier_add = filters.iter().all(|filter| matches!(filter, Filter::RedirectAll { .. }));
            if !of_an_earlier_add {
                let msg = format!("{doing}: {} has an ingress qdisc already, with filters of others", end.name);
                return Err(Error::new(ErrorCode::INTERNAL, msg)
                    .with_details(format!("see `tc filter show dev {} ingress`", end.name)));
            }
            host.delete_qdisc(end.index, Handle::INGRESS).explain(&doing)?;
            host.add_ingress(end.index).explain(&doing)?;
        }
        added => added.explain(&doing)?,
    }
    host.redirect_ingress(end.index, ifb.index).explain(&doing).inspect_err(|_| {
        // An ingress qdisc without filters changes nothing; if this fails too, it goes with the pair.
        let _ = host.delete_qdisc(end.index, Handle::INGRESS);
    })
}

/// Finds the attachment's device, and anything between it and the pod that has changed.
///
/// # Errors
/// What was expected and what was found.
pub fn verify(host: &Netlink, owner: &Owner, end: &Link) -> Result<Link, Error> {
    let (own, shared) = (own_name(owner), shared_name(owner));
    let mut found = None;
    for name in [&own, &shared] {
        let link = host.link(name).explain(name)?.filter(is_ifb);
        // One without an owner is the reference's.
        found = found.or(link.filter(|link| owner_of(link).is_none_or(|of| of == *owner)));
    }
    let what = format!("ifb {shared} of {}", owner.attachment);
    let ifb = found.ok_or_else(|| drift(&what, "an ifb device", "none"))?;
    if !ifb.up {
        return Err(drift(&what, "up", "down"));
    }
    if ifb.mtu < end.mtu {
        return Err(drift(&what, format_args!("mtu {} as of {}", end.mtu, end.name), ifb.mtu));
    }
    let what = format!("the ingress qdisc of {}", end.name);
    let redirect = format!("a redirect of everything to {}", ifb.name);
    if !matches!(host.qdisc(end.index, Handle::INGRESS).explain(&what)?, Some((_, Qdisc::Ingress))) {
        return Err(drift(&what, redirect, "no such qdisc"));
    }
    let filters = host.filters(end.index, Handle::INGRESS_QDISC).explain(&what)?;
    match filters.first() {
        Some(Filter::RedirectAll { to }) if *to == ifb.index => Ok(ifb),
        Some(other) => Err(drift(what, redirect, format_args!("{other:?}"))),
        None => Err(drift(what, redirect, "no filter")),
    }
}

/// Removes the attachment's device, whoever made it.
///
/// # Errors
/// Only if it is there and the kernel will not remove it.
pub fn delete(host: &Netlink, owner: &Owner) -> Result<(), Error> {
    let own_was_there = delete_link(host, &own_name(owner))?;
    let shared = shared_name(owner);
    let is_this_ones = host.link(&shared).explain(&shared)?.filter(is_ifb).is_some_and(|link| match owner_of(&link) {
        Some(of) => of == *owner,
        // The reference's, for this attachment or, where it has one of its own, for another of this container.
        None => !own_was_there,
    });
    if is_this_ones {
        delete_link(host, &shared)?;
    }
    Ok(())
}

fn delete_link(host: &Netlink, name: &str) -> Result<bool, Error> {
    host.delete_link(name).explain(format_args!("interface {name}"))
}

#[cfg(test)]
mod tests {
    use cni::Attachment;

    use super::*;

    #[test]
    fn the_name_is_the_references_and_each_interface_has_one_of_its_own() {
        let owner = |ifname: &str| {
            let attachment = Attachment { container_id: "c1".to_owned(), ifname: ifname.to_owned() };
            Owner { network: "net".to_owned(), attachment }
        };
        // printf netc1 | sha512sum
        assert_eq!(shared_name(&owner("eth0")), "bwp623e1c388032");
        assert_eq!(shared_name(&owner("eth1")), shared_name(&owner("eth0")));
        let names = [own_name(&owner("eth0")), own_name(&owner("eth1")), shared_name(&owner("eth0"))];
        assert!(names.iter().all(|name| name.len() == 15));
        assert!(names[0] != names[1] && names[1] != names[2] && names[0] != names[2]);
    }
}
