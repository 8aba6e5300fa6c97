//! The node's end of the link: the gateways' addresses on it, and a route to each of the pod's.

use std::net::IpAddr;

use cni::{Error, IpConfig};
use ipnetwork::IpNetwork;
use netlink::{Family, Link, LinkChange, Netlink, NewAddress, Route, Sysctl};
use pod::{Explain, Owner, drift};

/// `RT_SCOPE_HOST`, as the reference has its routes to pods.
const SCOPE_HOST: u8 = 254;

/// Puts the owner's name on the link, gives it the gateways' addresses, and leads the pod's addresses there.
///
/// # Errors
/// The kernel's.
pub fn connect(host: &Netlink, link: &Link, owner: &Owner, ips: &[IpConfig]) -> Result<(), Error> {
    let doing = format!("interface {}", link.name);
    pod::ignore_advertisements(link).explain(&doing)?;
    if let Some(alias) = owner.alias() {
        host.change_link(link.index, &LinkChange { alias: Some(alias), ..LinkChange::default() }).explain(&doing)?;
    }
    let gateways = gateways(ips);
    if gateways.iter().any(IpNetwork::is_ipv6) {
        // A node that has IPv6 off for new interfaces wants it here, where the pod has it.
        Sysctl::ipv6(&link.name, "disable_ipv6").and_then(|setting| setting.set("0")).explain(&doing)?;
    }
    for &network in &gateways {
        match host.add_address(link.index, &NewAddress { network, nodad: true }) {
            Err(e) if !e.is_exists() => return Err(e).explain(format_args!("gateway address {network} of {doing}"))?,
            _ => {}
        }
    }
    for ip in ips {
        let address = ip.address.ip();
        let route = Route { scope: address.is_ipv4().then_some(SCOPE_HOST), ..route_to(address, link.index) };
        match host.add_route(&route) {
            Err(e) if !e.is_exists() => return Err(e).explain(format_args!("the node's route to {address}"))?,
            _ => {}
        }
    }
    pod::wait_until_local(host, link, gateways.iter().map(IpNetwork::ip))
}

/// Finds a gateway's address or a route that is not there.
///
/// # Errors
/// The difference.
pub fn check(host: &Netlink, link: &Link, ips: &[IpConfig]) -> Result<(), Error> {
    let what = format!("interface {} on the node", link.name);
    let present = host.addresses(link.index).explain(&what)?;
    for gateway in gateways(ips) {
        if !present.iter().any(|address| address.network == gateway) {
            let found: Vec<String> = present.iter().map(|address| address.network.to_string()).collect();
            return Err(drift(&what, format_args!("address {gateway}"), found.join(", ")));
        }
    }
    for ip in ips {
        let wanted = route_to(ip.address.ip(), link.index);
        let family = if wanted.dst.is_ipv4() { Family::V4 } else { Family::V6 };
        let routes = host.routes(family, None, Some(link.index)).explain("the node's routes")?;
        if !routes.iter().any(|route| route.dst == wanted.dst && route.gateway.is_none()) {
            let found: Vec<String> = routes.iter().map(|route| route.dst.to_string()).collect();
            return Err(drift(&what, format_args!("a route to {}", wanted.dst), found.join(", ")));
        }
    }
    Ok(())
}

/// Whether a veth with no owner's name on it looks like the node's end of a point-to-point link: no port of anything, with an
/// address that is a whole network.
///
/// # Errors
/// The kernel's.
pub fn looks_like_ours(host: &Netlink, link: &Link) -> Result<bool, Error> {
    let addresses = host.addresses(link.index).explain(format_args!("addresses of {}", link.name))?;
    let is_whole = |network: IpNetwork| network == IpNetwork::from(network.ip());
    Ok(link.master.is_none() && addresses.iter().any(|address| is_whole(address.network)))
}

fn route_to(address: IpAddr, oif: u32) -> Route {
    Route::new(IpNetwork::from(address), None, oif)
}

/// Each gateway once, as a network of its own.
fn gateways(ips: &[IpConfig]) -> Vec<IpNetwork> {
    let mut gateways: Vec<IpNetwork> = Vec::new();
    for gateway in ips.iter().filter_map(|ip| ip.gateway).map(IpNetwork::from) {
        if !gateways.contains(&gateway) {
            gateways.push(gateway);
        }
    }
    gateways
}
