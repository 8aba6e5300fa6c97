//! The switches that make the node a router for its pods.

use std::net::IpAddr;

use cni::Error;
use netlink::{Link, Sysctl};

use crate::errors::Explain;

/// The switches that let the node forward in the families of `addresses`.
///
/// # Errors
/// None that can happen: the names are plain.
pub fn forwarding(addresses: impl IntoIterator<Item = IpAddr>) -> Result<Vec<Sysctl>, Error> {
    let (v4, v6): (Vec<IpAddr>, Vec<IpAddr>) = addresses.into_iter().partition(IpAddr::is_ipv4);
    let v4 = (!v4.is_empty()).then(|| Sysctl::net("ipv4/ip_forward"));
    let v6 = (!v6.is_empty()).then(|| Sysctl::ipv6("all", "forwarding"));
    v4.into_iter().chain(v6).collect::<Result<_, _>>().explain("forwarding")
}

/// Lets the node forward in the families of `addresses`.
///
/// # Errors
/// A switch that cannot be set.
pub fn forward(addresses: impl IntoIterator<Item = IpAddr>) -> Result<(), Error> {
    for setting in forwarding(addresses)? {
        setting.set("1").explain("forwarding between the pods and the rest of the network")?;
    }
    Ok(())
}

/// Has an interface on the node take no routes from router advertisements: its routes are ours.
///
/// # Errors
/// The switch cannot be set.
pub fn ignore_advertisements(link: &Link) -> Result<(), netlink::Error> {
    match link.accept_ra {
        None | Some(0) => Ok(()),
        Some(_) => Sysctl::ipv6(&link.name, "accept_ra").and_then(|setting| setting.write("0")).map(drop),
    }
}
