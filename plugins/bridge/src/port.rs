//! The veth pair: one end in the pod, the other a port of the bridge.

use std::time::Duration;

use cni::{AttachmentCall, Error, ErrorCode, Interface};
use netlink::{Link, LinkChange, MacAddr, Netlink, NewVeth, PortChange, Sysctl, VethHost, VethPeer};
use pod::{Explain, Owner, Pod};

use crate::config::{self, Config, Vlans};

/// The kernel has a port up within a millisecond; a node under heavy load may need longer.
const UP_DEADLINE: Duration = Duration::from_secs(10);

/// The pair as it was made.
pub struct Port {
    /// The end on the node.
    pub host: Link,
    /// The end in the pod.
    pub pod: Link,
    /// The pod end's MAC.
    pub pod_mac: MacAddr,
}

/// Makes the pair, the pod's end in the pod under its final name, not yet attached to any bridge.
///
/// # Errors
/// When either name is taken, with who has it.
pub fn create(host: &Netlink, pod: &Pod, owner: &Owner, config: &Config) -> Result<Port, Error> {
    let (name, ifname) = (owner.host_name(), &owner.attachment.ifname);
    let random = || MacAddr::random().map_err(|e| Error::new(ErrorCode::IO, format!("no random MAC to be had: {e}")));
    let pod_mac = config.mac.map_or_else(random, Ok)?;
    let made = host.create_veth(&NewVeth {
        host: VethHost { name: &name, mac: Some(random()?), mtu: config.mtu, master: None, up: true },
        peer: VethPeer { name: ifname, mac: Some(pod_mac), mtu: config.mtu, namespace: pod.namespace() },
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
        Ok(Port { host: found(host, &name)?, pod: found(pod.link(ifname)?, ifname)?, pod_mac })
    };
    ends().inspect_err(|_| {
        // The caller does not know of the pair yet; if this fails too, DEL finds it by its name.
        let _ = host.delete_link(&name);
    })
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

/// Makes `link` a port of the bridge, with the owner's name on it.
///
/// # Errors
/// The kernel's.
pub fn attach(host: &Netlink, link: &Link, bridge: &Link, owner: &Owner, config: &Config) -> Result<(), Error> {
    let doing = format_args!("attaching {} to bridge {:?}", link.name, bridge.name).to_string();
    Sysctl::ipv6(&link.name, "accept_ra").and_then(|setting| setting.set("0")).explain(&doing)?;
    let flags = PortChange { hairpin: config.hairpin.then_some(true), isolated: config.isolated.then_some(true) };
    let change = LinkChange {
        master: Some(bridge.index),
        alias: owner.alias(),
        port: Some(flags).filter(|flags| *flags != PortChange::default()),
        ..LinkChange::default()
    };
    host.change_link(link.index, &change).explain(&doing)?;
    config.vlans.as_ref().map_or(Ok(()), |vlans| set_vlans(host, link, vlans))
}

/// Brings the port's VLAN table to what the config says.
///
/// # Errors
/// The kernel's.
pub fn set_vlans(host: &Netlink, port: &Link, vlans: &Vlans) -> Result<(), Error> {
    let doing = format_args!("VLANs of bridge port {}", port.name).to_string();
    let wanted = vlans.of_port();
    host.add_vlans(port.index, &wanted).explain(&doing)?;
    if vlans.preserve_default {
        return Ok(());
    }
    // What else a new port is in is the bridge's default VLAN.
    let present = host.vlans(port.index).explain(&doing)?;
    let is_wanted = |vid: u16| wanted.iter().any(|vlan| vlan.vid == vid);
    let surplus: Vec<u16> = present.iter().map(|vlan| vlan.vid).filter(|vid| !is_wanted(*vid)).collect();
    if surplus.is_empty() { Ok(()) } else { host.delete_vlans(port.index, &surplus).explain(&doing) }
}

/// Waits until the bridge passes the pod's frames.
///
/// # Errors
/// Code 11 when the kernel does not say so in time.
pub fn wait_until_forwarding(host: &Netlink, port: &Link) -> Result<(), Error> {
    host.wait_port_up(port.index, UP_DEADLINE).explain(format_args!("bridge port {}", port.name)).map(drop)
}

/// Removes the attachment's pair where it is not one of ours: the reference names the host end at random.
///
/// # Errors
/// Only if it is there and the kernel will not remove it.
pub fn delete_others(host: &Netlink, call: &AttachmentCall) -> Result<(), Error> {
    let owner = crate::owner(call);
    // A result that cannot be read tells nothing, and must not keep the pod from going.
    let known = call.network.config.prev_result().ok().flatten().unwrap_or_default().interfaces;
    if let Some(path) = &call.netns
        && let Some(pod) = Pod::open_if_there(path)?
        && let Some(link) = pod.link(&owner.attachment.ifname)?
    {
        // The path may lead to another pod's namespace by now, as /proc/<pid>/ns/net does when the ID is used again.
        let recorded = known.iter().find(|known| known.name == link.name && !known.sandbox.is_empty());
        if link.is_veth() && has_mac(&link, recorded) && may_be_ours(host, &link, recorded.is_some(), call)? {
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

/// Whether the node's end of the pod's `link` is nobody else's: it names no other owner, and where no result vouches for
/// it, it is a port of the network's bridge. An interface of another plugin may be why our ADD failed.
fn may_be_ours(host: &Netlink, link: &Link, vouched: bool, call: &AttachmentCall) -> Result<bool, Error> {
    let port = link.peer_index.map(|peer| host.link(peer)).transpose().explain("the node's end of the pair")?.flatten();
    // An index alone does not tell that it is the node's.
    let Some(port) = port.filter(|port| port.peer_index == Some(link.index)) else { return Ok(vouched) };
    match port.alias.as_deref().and_then(Owner::from_alias) {
        Some(owner) => Ok(owner == crate::owner(call)),
        None if vouched => Ok(true),
        None => {
            let bridge = host.link(&*config::bridge_name(&call.network)).explain("the network's bridge")?;
            Ok(bridge.is_some_and(|bridge| port.master == Some(bridge.index)))
        }
    }
}
