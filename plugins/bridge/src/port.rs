//! The node's end of the veth pair as a port of the bridge.

use std::time::Duration;

use cni::{AttachmentCall, Error};
use netlink::{Link, LinkChange, Netlink, OperState, PortChange, PortState};
use pod::{Explain, Owner};

use crate::config::{self, Config, Vlans};

/// The kernel has a port up within a millisecond; a node under heavy load may need longer.
const UP_DEADLINE: Duration = Duration::from_secs(10);

/// Makes `link` a port of the bridge, with the owner's name on it.
///
/// # Errors
/// The kernel's.
pub fn attach(host: &Netlink, link: &Link, bridge: &Link, owner: &Owner, config: &Config) -> Result<(), Error> {
    let doing = format_args!("attaching {} to bridge {:?}", link.name, bridge.name).to_string();
    pod::ignore_advertisements(link).explain(&doing)?;
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

/// Waits until the bridge passes the pod's frames, and until what the node sends by the bridge passes: it starts to run with its
/// first port that forwards, and drops that before. Returns the bridge as it is then.
///
/// # Errors
/// Code 11 when the kernel does not say so in time.
pub fn wait_until_forwarding(host: &Netlink, port: &Link, bridge: &Link) -> Result<Link, Error> {
    let forwards = wait_until_up(host, port)?.port.is_some_and(|port| port.state == PortState::Forwarding);
    let runs = |bridge: &Link| !forwards || bridge.oper_state != OperState::Down;
    let waited = host.wait_link(bridge.index, "the bridge to run", UP_DEADLINE, runs);
    waited.explain(format_args!("bridge {}", bridge.name))
}

/// Waits until the bridge has switched the port on.
///
/// # Errors
/// Code 11 when the kernel does not say so in time.
pub fn wait_until_up(host: &Netlink, port: &Link) -> Result<Link, Error> {
    host.wait_port_up(port.index, UP_DEADLINE).explain(format_args!("bridge port {}", port.name))
}

/// Removes the attachment's pair where it is not one of ours. Without a result, what tells one of this network is that its end on
/// the node is a port of the network's bridge.
///
/// # Errors
/// Only if it is there and the kernel will not remove it.
pub fn delete_others(host: &Netlink, call: &AttachmentCall) -> Result<(), Error> {
    pod::delete_foreign_veth(host, call, |port| {
        let bridge = host.link(&*config::bridge_name(&call.network)).explain("the network's bridge")?;
        Ok(bridge.is_some_and(|bridge| port.master == Some(bridge.index)))
    })
}
