//! The veth pair between a pod and the node: made under its owner's name, and found again.

use cni::{AttachmentCall, Error, ErrorCode, Interface};
use netlink::{Link, MacAddr, Netlink, NewVeth, VethHost, VethPeer};

use crate::address::Pod;
use crate::errors::Explain;
use crate::owner::Owner;

/// The pair as it was made.
#[derive(Debug)]
pub struct Veth {
    /// The end on the node.
    pub host: Link,
    /// The end in the pod.
    pub pod: Link,
    /// The pod end's MAC.
    pub pod_mac: MacAddr,
}

/// The node's own network namespace, the plugin's.
///
/// # Errors
/// The system gives no socket.
pub fn open_host() -> Result<Netlink, Error> {
    Netlink::new().explain("the node's network namespace")
}

/// A link as a result tells of it; `sandbox` is the pod's namespace, empty for the node.
pub fn interface(link: &Link, mac: Option<MacAddr>, sandbox: &str) -> Interface {
    Interface {
        name: link.name.clone(),
        mac: mac.map(|mac| mac.to_string()).unwrap_or_default(),
        mtu: Some(link.mtu),
        sandbox: sandbox.to_owned(),
        ..Interface::default()
    }
}

impl Veth {
    /// Makes the pair, the pod's end in the pod under its final name, the node's end switched on under [`Owner::host_name`].
    /// `mac` is the pod end's, random without; `mtu` is that of both ends, in bytes.
    ///
    /// # Errors
    /// When either name is taken, with who has it.
    pub fn create(
        host: &Netlink,
        pod: &Pod,
        owner: &Owner,
        mac: Option<MacAddr>,
        mtu: Option<u32>,
    ) -> Result<Veth, Error> {
        let (name, ifname) = (owner.host_name(), &owner.attachment.ifname);
        let random =
            || MacAddr::random().map_err(|e| Error::new(ErrorCode::IO, format!("no random MAC to be had: {e}")));
        let pod_mac = mac.map_or_else(random, Ok)?;
        let made = host.create_veth(&NewVeth {
            host: VethHost { name: &name, mac: Some(random()?), mtu, master: None, up: true },
            peer: VethPeer { name: ifname, mac: Some(pod_mac), mtu, namespace: pod.namespace() },
        });
        match made {
            Err(e) if e.is_exists() => return Err(already_attached(host, &name, owner)),
            Err(netlink::Error::PeerExists(_)) => return Err(name_taken(pod, ifname)),
            other => other.explain(format_args!("veth pair {name} for {}", owner.attachment))?,
        }
        let found = |link: Option<Link>, name: &str| {
            link.ok_or_else(|| {
                // Somebody removed the other end, or the pod's namespace with it, in this moment.
                Error::new(ErrorCode::TRY_AGAIN_LATER, format!("interface {name} vanished while it was being set up"))
            })
        };
        let ends = || {
            let host = host.link(&name).explain(&name)?;
            Ok(Veth { host: found(host, &name)?, pod: found(pod.link(ifname)?, ifname)?, pod_mac })
        };
        ends().inspect_err(|_| {
            // The caller does not know of the pair yet; if this fails too, DEL finds it by its name.
            let _ = host.delete_link(&name);
        })
    }
}

fn already_attached(host: &Netlink, name: &str, owner: &Owner) -> Error {
    let alias = host.link(name).ok().flatten().and_then(|link| link.alias);
    let holder = match alias.as_deref().and_then(Owner::from_alias) {
        Some(other) if other != *owner => format!("{} in network {:?}", other.attachment, other.network),
        _ => "an earlier ADD of this attachment".to_owned(),
    };
    Error::new(ErrorCode::INTERNAL, format!("{} is already attached to network {:?}", owner.attachment, owner.network))
        .with_details(format!(
            "interface {name} on the node exists, made by {holder}; call DEL before ADD is called again"
        ))
}

fn name_taken(pod: &Pod, ifname: &str) -> Error {
    let what = match pod.link(ifname) {
        Ok(Some(link)) => format!("a {} interface with index {}", link.kind, link.index),
        _ => "an interface that is gone again by now".to_owned(),
    };
    Error::new(ErrorCode::INTERNAL, format!("container veth name provided ({ifname}) already exists"))
        .with_details(format!("in the pod, {ifname} is {what}; choose another CNI_IFNAME, or call DEL first"))
}

/// Removes the attachment's pair where it is not one of ours: the reference names the node's end at random. Where no
/// result vouches for the pair and it names no owner, `is_known` decides by the node's end whether it is this network's: an
/// interface of another plugin may be why our ADD failed.
///
/// # Errors
/// Only if it is there and the kernel will not remove it.
pub fn delete_foreign_veth(
    host: &Netlink,
    call: &AttachmentCall,
    is_known: impl Fn(&Link) -> Result<bool, Error>,
) -> Result<(), Error> {
    let owner = &Owner::of(call);
    let known = call.network.config.prev_result_if_valid().interfaces;
    if let Some(path) = &call.netns
        && let Some(pod) = Pod::open_if_there(path)?
        && let Some(link) = pod.link(&owner.attachment.ifname)?
    {
        // The path may lead to another pod's namespace by now, as /proc/<pid>/ns/net does when the ID is used again.
        let recorded = known.iter().find(|known| known.name == link.name && !known.sandbox.is_empty());
        if link.is_veth() && has_mac(&link, recorded) && may_be_ours(host, &link, recorded.is_some(), owner, is_known)?
        {
            pod.netlink().delete_link(link.index).explain(&link.name)?;
            return Ok(());
        }
    }
    // The namespace may live on without a path; the host end is what the result said, if name and MAC agree.
    for recorded in known.iter().filter(|known| known.sandbox.is_empty() && !known.mac.is_empty()) {
        let Some(link) = host.link(&*recorded.name).explain(&recorded.name)? else { continue };
        if link.is_veth() && link.peer_netnsid.is_some() && has_mac(&link, Some(recorded)) {
            host.delete_link(&*link.name).explain(format_args!("interface {}", link.name))?;
        }
    }
    Ok(())
}

/// Whether the link has the MAC that was recorded, if one was.
fn has_mac(link: &Link, recorded: Option<&Interface>) -> bool {
    let mac = recorded.and_then(|recorded| recorded.mac.parse::<MacAddr>().ok());
    mac.is_none_or(|mac| link.mac == Some(mac))
}

/// Whether the node's end of the pod's `link` is nobody else's.
fn may_be_ours(
    host: &Netlink,
    link: &Link,
    vouched: bool,
    owner: &Owner,
    is_known: impl Fn(&Link) -> Result<bool, Error>,
) -> Result<bool, Error> {
    let peer = link.peer_index.map(|peer| host.link(peer)).transpose().explain("the node's end of the pair")?.flatten();
    // An index alone does not tell that it is the node's.
    let Some(peer) = peer.filter(|peer| peer.peer_index == Some(link.index)) else { return Ok(vouched) };
    match peer.alias.as_deref().and_then(Owner::from_alias) {
        Some(other) => Ok(other == *owner),
        None if vouched => Ok(true),
        None => is_known(&peer),
    }
}
