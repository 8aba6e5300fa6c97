//! Layer 3 as a plan: which gateways, which routes. No kernel here.

use std::net::IpAddr;

use cni::{Cidr, CniResult, Error, ErrorCode, Route};
use ipnetwork::IpNetwork;

use crate::config::Config;

/// The index in `interfaces` of the pod's interface: bridge, host end, pod end, as the reference orders them.
pub const POD_INTERFACE: usize = 2;

/// IPv6 wants links to carry 1,280 bytes (RFC 8200); the kernel switches it off below.
const MIN_MTU_V6: u32 = 1280;

/// Completes what the IPAM plugin returned: each address is the pod's, has a gateway, and the default routes are there.
///
/// # Errors
/// When IPAM gave no address, or one that cannot work with this config.
pub fn complete(result: &mut CniResult, config: &Config) -> Result<(), Error> {
    if result.ips.is_empty() {
        return Err(Error::new(ErrorCode::INTERNAL, "IPAM plugin returned missing IP config")
            .with_details("its result has no ips; a network without addresses has no ipam in its config"));
    }
    for ip in &mut result.ips {
        ip.interface = Some(POD_INTERFACE);
        if let Some(mtu) = config.mtu.filter(|mtu| *mtu < MIN_MTU_V6 && ip.address.ip().is_ipv6()) {
            let msg = format!("mtu: {mtu} is too small for the IPv6 address {}", ip.address);
            return Err(Error::new(ErrorCode::INVALID_CONFIG, msg).with_details("IPv6 needs an mtu of at least 1280"));
        }
        if config.is_gateway && ip.gateway.is_none() {
            ip.gateway = Some(first_address(ip.address.0).ok_or_else(|| {
                let msg = format!(
                    "isGateway: IPAM gave {} without a gateway, and its subnet has no room for one",
                    ip.address
                );
                Error::new(ErrorCode::INVALID_CONFIG, msg)
            })?);
        }
    }
    if config.is_default_gateway {
        for ip in &result.ips {
            let everywhere = Cidr::everywhere(ip.address.ip());
            if !result.routes.iter().any(|route| route.dst == everywhere && route.gw.is_some()) {
                result.routes.push(Route::new(everywhere, ip.gateway));
            }
        }
    }
    Ok(())
}

/// The addresses the bridge must have, with the prefix lengths of the pod's subnets, each once.
pub fn gateways(result: &CniResult) -> Vec<IpNetwork> {
    let mut gateways = Vec::new();
    for ip in &result.ips {
        let network = ip.gateway.and_then(|gateway| IpNetwork::new(gateway, ip.address.0.prefix()).ok());
        gateways.extend(network.filter(|network| !gateways.contains(network)));
    }
    gateways
}

/// The subnet's first address after the network's own, which the reference takes for the gateway.
fn first_address(network: IpNetwork) -> Option<IpAddr> {
    let next: IpAddr = match network.network() {
        IpAddr::V4(ip) => u32::from(ip).checked_add(1).map(std::net::Ipv4Addr::from)?.into(),
        IpAddr::V6(ip) => u128::from(ip).checked_add(1).map(std::net::Ipv6Addr::from)?.into(),
    };
    network.contains(next).then_some(next)
}

#[cfg(test)]
mod tests;
