//! The switches that make the node a router for its pods.

use std::net::IpAddr;

use cni::Error;
use netlink::Sysctl;

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
