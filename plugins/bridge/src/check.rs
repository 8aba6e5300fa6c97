//! CHECK: every way in which an attachment can have drifted from what ADD made.

use cni::{AttachmentCall, CniResult, Error, Interface, IpConfig};
use netlink::{Link, MacAddr, Netlink, OperState, Sysctl};
use pod::{Explain, Pod, drift, expect_mac, expect_sysctl, expect_veth, forwarding, prev_result, recorded};

use crate::config::Config;
use crate::{bridge, gateway};

/// Compares `prevResult` and the config with the kernel.
///
/// # Errors
/// The first difference.
pub fn attachment(call: &AttachmentCall, config: &Config) -> Result<(), Error> {
    let result = prev_result(call)?;
    let netns = call.netns()?;
    let pod = Pod::open(netns)?;
    let host = pod::open_host()?;
    let sandbox = netns.to_string_lossy();
    let ifname = &call.attachment.ifname;

    let recorded_bridge = recorded(&result, &config.bridge, "")?;
    let bridge = check_bridge(&host, recorded_bridge, config)?;
    let recorded_pod = recorded(&result, ifname, &sandbox)?;
    let pod_link = pod.link(ifname)?;
    let pod_link = expect_veth(pod_link, recorded_pod, format_args!("interface {ifname} in the pod"))?;
    let port = check_port(&host, &result, &pod_link, &bridge, config)?;
    if !config.disable_container_interface {
        let ours = Some(index_of(&result, recorded_pod));
        let ips: Vec<&IpConfig> =
            result.ips.iter().filter(|ip| ip.interface.is_none() || ip.interface == ours).collect();
        pod.verify(&pod_link, &result, &ips)?;
        if port.oper_state != OperState::Up {
            return Err(drift(format_args!("bridge port {}", port.name), "up", format_args!("{:?}", port.oper_state)));
        }
    }
    if config.ipam.is_some() && config.is_gateway {
        check_gateway(&host, &bridge, &result, config)?;
    }
    Ok(())
}

/// The MAC of the pod's interface: what the result recorded.
pub fn pod_mac(call: &AttachmentCall, result: &CniResult) -> MacAddr {
    let sandboxed = |known: &&Interface| known.name == call.attachment.ifname && !known.sandbox.is_empty();
    let recorded = result.interfaces.iter().find(sandboxed).and_then(|known| known.mac.parse().ok());
    recorded.unwrap_or(MacAddr::from([0; 6]))
}

fn index_of(result: &CniResult, interface: &Interface) -> usize {
    result.interfaces.iter().position(|known| known == interface).unwrap_or(gateway::POD_INTERFACE)
}

fn check_bridge(host: &Netlink, recorded: &Interface, config: &Config) -> Result<Link, Error> {
    let what = format!("bridge {:?}", config.bridge);
    let bridge =
        bridge::find(host, &config.bridge)?.ok_or_else(|| drift(&what, "a bridge", "no interface of that name"))?;
    expect_mac(&what, &bridge, recorded)?;
    if !bridge.up {
        return Err(drift(&what, "up", "down"));
    }
    // Others may have a reason to listen on it; only what the config asks for is ours to miss.
    if config.promiscuous && !bridge.promiscuous {
        return Err(drift(&what, "promiscuous mode on", "off"));
    }
    if config.vlans.is_some() && !bridge::filters_vlans(&bridge) {
        return Err(drift(&what, "VLAN filtering on", "off"));
    }
    expect_sysctl(&Sysctl::ipv6(&bridge.name, "accept_ra").explain(&what)?, "0")?;
    Ok(bridge)
}

/// The port is the interface on the node that is the pod interface's peer.
fn check_port(host: &Netlink, result: &CniResult, pod: &Link, bridge: &Link, config: &Config) -> Result<Link, Error> {
    let Some(port) = pod.peer_index.map(|peer| host.link(peer)).transpose().explain("the pod's bridge port")?.flatten()
    else {
        return Err(drift(format_args!("the peer of {} in the pod", pod.name), "a bridge port on the node", "none"));
    };
    let what = format!("bridge port {}", port.name);
    let recorded = recorded(result, &port.name, "")?;
    let port = expect_veth(Some(port), recorded, &what)?;
    if port.peer_index != Some(pod.index) {
        let found = format!("{:?}", port.peer_index);
        return Err(drift(&what, format_args!("the pod's interface #{} as its peer", pod.index), found));
    }
    if port.master != Some(bridge.index) {
        let found = match port.master.map(|master| host.link(master)).transpose().explain(&what)?.flatten() {
            Some(master) => format!("{:?}", master.name),
            None => "none".to_owned(),
        };
        return Err(drift(&what, format_args!("master {:?}", bridge.name), found));
    }
    if !port.up {
        return Err(drift(&what, "up", "down"));
    }
    let flags = port.port.as_ref().map_or((false, false), |flags| (flags.hairpin, flags.isolated));
    for (flag, expected, found) in [("hairpin", config.hairpin, flags.0), ("isolated", config.isolated, flags.1)] {
        if expected != found {
            return Err(drift(&what, format_args!("{flag} {expected}"), found));
        }
    }
    expect_sysctl(&Sysctl::ipv6(&port.name, "accept_ra").explain(&what)?, "0")?;
    check_vlans(host, &port, config)?;
    Ok(port)
}

fn check_vlans(host: &Netlink, port: &Link, config: &Config) -> Result<(), Error> {
    let Some(vlans) = &config.vlans else { return Ok(()) };
    let what = format!("bridge port {}", port.name);
    let present = host.vlans(port.index).explain(&what)?;
    let wanted = vlans.of_port();
    let missing = wanted.iter().find(|vlan| !present.contains(vlan));
    let surplus = present.iter().find(|vlan| !wanted.iter().any(|wanted| wanted.vid == vlan.vid));
    match (missing, surplus.filter(|_| !vlans.preserve_default)) {
        (Some(vlan), _) => Err(drift(what, format_args!("membership {vlan:?}"), format_args!("{present:?}"))),
        (None, Some(vlan)) => Err(drift(what, "no other VLANs than the config's", format_args!("{vlan:?}"))),
        (None, None) => Ok(()),
    }
}

fn check_gateway(host: &Netlink, bridge: &Link, result: &CniResult, config: &Config) -> Result<(), Error> {
    let in_vlan = config.vlans.as_ref().and_then(|vlans| vlans.gateway_name(&bridge.name));
    let what = format!("gateway interface {}", in_vlan.as_deref().unwrap_or(&bridge.name));
    let link = match in_vlan {
        Some(name) => host.link(&name).explain(&what)?.ok_or_else(|| drift(&what, "an interface", "none"))?,
        None => bridge.clone(),
    };
    let present = host.addresses(link.index).explain(&what)?;
    let gateways = gateway::gateways(result);
    for gateway in &gateways {
        if !present.iter().any(|address| address.network == *gateway) {
            let found: Vec<String> = present.iter().map(|address| address.network.to_string()).collect();
            return Err(drift(&what, format_args!("address {gateway}"), found.join(", ")));
        }
    }
    forwarding(gateways.iter().map(|gateway| gateway.ip()))?.iter().try_for_each(|setting| expect_sysctl(setting, "1"))
}
