//! The pod's routes.

use std::net::IpAddr;

use cni::{CniResult, Error, IpConfig};
use ipnetwork::IpNetwork;
use netlink::{Family, Netlink};

use crate::errors::{Explain, drift};

/// The routes of `result` as the kernel is asked for them, on interface `oif`. A route that names no gateway has that
/// of the first address of its family (specification, "Result types").
pub(crate) fn wanted(result: &CniResult, oif: u32) -> impl Iterator<Item = netlink::Route> {
    result.routes.iter().map(move |route| netlink::Route {
        dst: route.dst.0,
        gateway: route.gw.or_else(|| family_gateway(result, route.dst.ip())),
        oif,
        mtu: route.mtu,
        advmss: route.advmss,
        priority: route.priority,
        table: route.table,
        scope: route.scope,
        source: None,
        onlink: false,
    })
}

fn family_gateway(result: &CniResult, family_of: IpAddr) -> Option<IpAddr> {
    let mut gateways = result.ips.iter().filter_map(|ip| ip.gateway);
    gateways.find(|gateway| gateway.is_ipv4() == family_of.is_ipv4())
}

/// The routes of a link whose other end is the node alone: each gateway on the link, each subnet by its gateway. In this
/// order, since the kernel takes a gateway only if it is known to be on the link.
pub(crate) fn to_gateways(ips: &[IpConfig], oif: u32) -> Vec<netlink::Route> {
    let mut routes: Vec<netlink::Route> = Vec::new();
    for ip in ips {
        let Some(gateway) = ip.gateway else { continue };
        let (subnet, source) = (whole(ip.address.0), Some(ip.address.ip()));
        let on_link = netlink::Route { source, ..netlink::Route::new(IpNetwork::from(gateway), None, oif) };
        if !routes.iter().any(|route| route.dst == on_link.dst) {
            routes.push(on_link);
        }
        let is_a_subnet = subnet.prefix() < IpNetwork::from(subnet.ip()).prefix();
        routes
            .extend(is_a_subnet.then(|| netlink::Route { source, ..netlink::Route::new(subnet, Some(gateway), oif) }));
    }
    routes
}

/// The network itself, without host bits, as it stands in a routing table.
fn whole(network: IpNetwork) -> IpNetwork {
    IpNetwork::new(network.network(), network.prefix()).unwrap_or(network)
}

/// Adds the routes of `result`.
pub(crate) fn add(netlink: &Netlink, result: &CniResult, oif: u32) -> Result<(), Error> {
    add_all(netlink, wanted(result, oif))
}

/// Adds routes. One that is there already stays as it is: of two for one destination, the first counts.
pub(crate) fn add_all(netlink: &Netlink, routes: impl IntoIterator<Item = netlink::Route>) -> Result<(), Error> {
    for route in routes {
        match netlink.add_route(&route) {
            Err(e) if !e.is_exists() => return Err(e).explain(format_args!("route to {}", route.dst)),
            _ => {}
        }
    }
    Ok(())
}

/// Finds a route of `result` that is missing.
pub(crate) fn verify(netlink: &Netlink, result: &CniResult, oif: u32) -> Result<(), Error> {
    verify_all(netlink, wanted(result, oif))
}

/// Finds a route that is missing. Its destination and gateway count; metrics may have been tuned since.
pub(crate) fn verify_all(netlink: &Netlink, routes: impl IntoIterator<Item = netlink::Route>) -> Result<(), Error> {
    for route in routes {
        let family = if route.dst.is_ipv4() { Family::V4 } else { Family::V6 };
        let present = netlink.routes(family, route.table, Some(route.oif)).explain("the pod's routes")?;
        let is_it = |found: &netlink::Route| {
            found.dst.network() == route.dst.network()
                && found.dst.prefix() == route.dst.prefix()
                && found.gateway == route.gateway
        };
        if !present.iter().any(is_it) {
            let found: Vec<String> = present.iter().map(text).collect();
            let expected = format!("a route to {}", text(&route));
            return Err(drift("the pod's routing table", expected, found.join(", ")));
        }
    }
    Ok(())
}

fn text(route: &netlink::Route) -> String {
    route.gateway.map_or_else(|| route.dst.to_string(), |gateway| format!("{} via {gateway}", route.dst))
}
