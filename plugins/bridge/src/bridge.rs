//! The bridge that the network's pods share, and its part as their gateway.

use std::net::IpAddr;

use cni::{Error, ErrorCode};
use ipnetwork::IpNetwork;
use netlink::{
    Link, LinkChange, LinkKind, MacAddr, Namespace, Netlink, NewAddress, NewBridge, NewVeth, Sysctl, VethHost, VethPeer,
};
use pod::{Explain, Owner};

use crate::config::{Config, Vlans};
use crate::port;

/// The bridge, if there is one.
///
/// # Errors
/// Code 7 if the name belongs to another kind of interface.
pub fn find(host: &Netlink, name: &str) -> Result<Option<Link>, Error> {
    match host.link(name).explain(format_args!("bridge {name:?}"))? {
        Some(link) if !link.is_bridge() => {
            let msg = format!("{name:?} already exists but is not a bridge");
            Err(Error::new(ErrorCode::INVALID_CONFIG, msg)
                .with_details(format!("it is a {} interface; set \"bridge\" to another name, or remove it", link.kind)))
        }
        other => Ok(other),
    }
}

/// Whether the network's pods that are there are connected.
///
/// # Errors
/// As [`find`]; code 51 if there are some and their bridge is gone or switched off.
pub fn status(host: &Netlink, config: &Config, network: &str) -> Result<(), Error> {
    let bridge = find(host, &config.bridge)?;
    let (what, advice) = match &bridge {
        Some(bridge) if bridge.up => return Ok(()),
        Some(bridge) => ("switched off", format!("switch it on: ip link set {} up", bridge.name)),
        None => ("gone", "delete these pods, so that they are made anew: their interfaces have lost it".to_owned()),
    };
    // Not asked before: on a node in order this dump of all interfaces is not needed.
    let links = host.links().explain("the node's interfaces")?;
    let is_attached = |link: &&Link| match &bridge {
        Some(bridge) => link.master == Some(bridge.index),
        // One on another bridge was attached when the config named that.
        None => {
            let owner = link.alias.as_deref().and_then(Owner::from_alias);
            link.is_veth() && link.master.is_none() && owner.is_some_and(|owner| owner.network == network)
        }
    };
    let attached: Vec<_> = links.iter().filter(is_attached).map(|link| link.name.as_str()).collect();
    let Some(first) = attached.first() else { return Ok(()) };
    let msg = format!(
        "bridge {:?} of network {network:?} is {what}, and {} interfaces of pods ({first}, ...) are attached to it",
        config.bridge,
        attached.len()
    );
    Err(Error::new(ErrorCode::LIMITED_CONNECTIVITY, msg).with_details(advice))
}

/// The bridge, made where `found` is none, and brought to what the config says where it is not so yet.
///
/// # Errors
/// As [`find`], and the kernel's.
pub fn ensure(host: &Netlink, found: Option<Link>, config: &Config) -> Result<Link, Error> {
    let doing = format!("bridge {:?}", config.bridge);
    let bridge = found.map_or_else(|| create(host, config), Ok)?;
    let vlan_filtering = config.vlans.is_some() && !filters_vlans(&bridge);
    let change = LinkChange {
        up: (!bridge.up).then_some(true),
        promiscuous: (config.promiscuous && !bridge.promiscuous).then_some(true),
        vlan_filtering: vlan_filtering.then_some(true),
        ..LinkChange::default()
    };
    if change != LinkChange::default() {
        host.change_link(bridge.index, &change).explain(&doing)?;
    }
    // Each time: whoever made it may have been killed before this line.
    pod::ignore_advertisements(&bridge).explain(&doing)?;
    Ok(bridge)
}

fn create(host: &Netlink, config: &Config) -> Result<Link, Error> {
    let doing = format!("bridge {:?}", config.bridge);
    let mac = MacAddr::random().map_err(|e| Error::new(ErrorCode::IO, format!("{doing}: no random MAC: {e}")))?;
    let made = host.create_bridge(&NewBridge {
        name: &config.bridge,
        // With a MAC of its own, it does not take on the lowest one of its ports, which changes as pods come and go.
        mac: Some(mac),
        mtu: config.mtu,
        vlan_filtering: config.vlans.is_some(),
        up: true,
    });
    match made {
        // Another ADD was first; its bridge is as good.
        Err(e) if e.is_exists() => {}
        other => other.explain(&doing)?,
    }
    find(host, &config.bridge)?.ok_or_else(|| {
        Error::new(ErrorCode::TRY_AGAIN_LATER, format!("{doing} was removed by somebody while it was being set up"))
    })
}

/// Gives the bridge the gateways' addresses and lets the node forward. In a VLAN, an interface of that VLAN gets them,
/// and is returned.
///
/// # Errors
/// A conflict with the addresses that are there; the kernel's.
pub fn serve_as_gateway(
    host: &Netlink,
    bridge: &Link,
    gateways: &[IpNetwork],
    config: &Config,
) -> Result<Option<Link>, Error> {
    let in_vlan = config.vlans.as_ref().and_then(|vlans| Some((vlans, vlans.gateway_name(&bridge.name)?)));
    let in_vlan = in_vlan.map(|(vlans, name)| ensure_vlan_interface(host, bridge, &name, vlans)).transpose()?;
    ensure_addresses(host, in_vlan.as_ref().unwrap_or(bridge), gateways, config.force_address)?;
    pod::forward(gateways.iter().map(IpNetwork::ip))?;
    Ok(in_vlan)
}

/// Whether the bridge keeps VLANs apart.
pub fn filters_vlans(bridge: &Link) -> bool {
    bridge.kind == LinkKind::Bridge { vlan_filtering: true }
}

fn ensure_addresses(host: &Netlink, link: &Link, wanted: &[IpNetwork], force: bool) -> Result<(), Error> {
    let doing = format!("addresses of {}", link.name);
    let present = host.addresses(link.index).explain(&doing)?;
    let is_there = |network: &IpNetwork| present.iter().any(|address| address.network == *network);
    let missing: Vec<_> = wanted.iter().filter(|network| !is_there(network)).collect();
    for network in &missing {
        for other in present.iter().map(|address| address.network).filter(|other| conflicts(*other, **network)) {
            if wanted.contains(&other) {
                continue;
            }
            if !force {
                let msg = format!("{:?} already has an IP address different from {network}: {other}", link.name);
                return Err(Error::new(ErrorCode::INVALID_CONFIG, msg).with_details(
                    "remove that address, use another bridge, or set \"forceAddress\": true to have it replaced",
                ));
            }
            host.delete_address(link.index, other).explain(&doing)?;
        }
    }
    if !missing.is_empty() && link.is_bridge() {
        // A bridge that somebody else made may follow the MACs of its ports, and by now have that of ours; set once, it
        // stays. Before the addresses, so that an ADD killed in between leaves this to the next one.
        let mac = host.link(link.index).explain(&doing)?.and_then(|now| now.mac);
        host.change_link(link.index, &LinkChange { mac, ..LinkChange::default() }).explain(&doing)?;
    }
    if missing.iter().any(|network| network.is_ipv6()) {
        // A node that has IPv6 off for new interfaces wants it here, where a gateway was asked for.
        Sysctl::ipv6(&link.name, "disable_ipv6").and_then(|setting| setting.set("0")).explain(&doing)?;
    }
    for network in &missing {
        let address = NewAddress { network: **network, nodad: true };
        match host.add_address(link.index, &address) {
            Err(e) if !e.is_exists() => return Err(e).explain(&doing)?,
            _ => {}
        }
    }
    pod::wait_until_local(host, link, missing.iter().map(|network| network.ip()))
}

/// The reference's rule: one IPv4 subnet on a bridge, and any number of IPv6 subnets that do not overlap. The link-local
/// addresses that the kernel gives every interface are in nobody's way.
fn conflicts(present: IpNetwork, wanted: IpNetwork) -> bool {
    let link_local = matches!(present.ip(), IpAddr::V6(ip) if ip.is_unicast_link_local());
    present.is_ipv4() == wanted.is_ipv4()
        && !link_local
        && (wanted.is_ipv4() || present.contains(wanted.ip()) || wanted.contains(present.ip()))
}

/// A veth pair on the node: one end a port in the VLAN, the other the interface `name` that has the gateway's address.
fn ensure_vlan_interface(host: &Netlink, bridge: &Link, name: &str, vlans: &Vlans) -> Result<Link, Error> {
    let doing = format!("VLAN interface {name:?}");
    let port_name = vlan_port_name(&bridge.name, name);
    if host.link(name).explain(&doing)?.is_none() {
        let node = Namespace::current().explain(&doing)?;
        let made = host.create_veth(&NewVeth {
            host: VethHost { name: &port_name, mac: None, mtu: Some(bridge.mtu), master: Some(bridge.index), up: true },
            peer: VethPeer { name, mac: None, mtu: Some(bridge.mtu), namespace: &node },
        });
        match made {
            // Another ADD was first.
            Err(e) if e.is_exists() => {}
            Err(netlink::Error::PeerExists(_)) => {}
            other => other.explain(&doing)?,
        }
    }
    let link = host.link(name).explain(&doing)?.filter(Link::is_veth).ok_or_else(|| {
        let msg = format!("{name:?} is not the VLAN interface it should be");
        Error::new(ErrorCode::INVALID_CONFIG, msg)
            .with_details("remove the interface of that name, or use another bridge")
    })?;
    // One that the reference made has a port of another name, in the VLAN already.
    let port = host.link(&port_name).explain(&doing)?;
    if let Some(port) = &port {
        port::set_vlans(host, port, vlans)?;
    }
    if !link.up {
        host.change_link(link.index, &LinkChange { up: Some(true), ..LinkChange::default() }).explain(&doing)?;
        port.map_or(Ok(()), |port| port::wait_until_up(host, &port).map(drop))?;
    }
    Ok(link)
}

/// The port's name follows from the interface's, so that the next ADD finds it and completes what a killed one began.
fn vlan_port_name(bridge: &str, interface: &str) -> String {
    let attachment = cni::Attachment { container_id: "gateway".to_owned(), ifname: interface.to_owned() };
    Owner { network: bridge.to_owned(), attachment }.host_name()
}
