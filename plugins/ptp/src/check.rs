//! CHECK: every way in which an attachment can have drifted from what ADD made.

use cni::{AttachmentCall, Error, Interface, IpConfig};
use netlink::{Link, OperState};
use pod::{Explain, Owner, Pod, drift, expect_sysctl, expect_veth, forwarding, prev_result, recorded};

use crate::config::Config;
use crate::host;

/// Compares `prevResult` and the config with the kernel.
///
/// # Errors
/// The first difference.
pub fn attachment(call: &AttachmentCall, config: &Config) -> Result<(), Error> {
    let result = prev_result(call)?;
    let netns = call.netns()?;
    let (pod, host) = (Pod::open(netns)?, pod::open_host()?);
    let ifname = &call.attachment.ifname;

    let recorded_pod = recorded(&result, ifname, &netns.to_string_lossy())?;
    let what = format!("interface {ifname} in the pod");
    let link = expect_veth(pod.link(ifname)?, recorded_pod, &what)?;
    // What was not recorded (before 1.1.0), a plugin later in the chain may have been told to change.
    expect_mtu(&what, &link, recorded_pod.mtu)?;
    let index = result.interfaces.iter().position(|known| known == recorded_pod);
    let ours = |ip: &&IpConfig| ip.interface.is_none() || ip.interface == index;
    let ips: Vec<IpConfig> = result.ips.iter().filter(ours).cloned().collect();
    pod.verify_routed(&link, &result, &ips)?;

    let peer = link.peer_index.map(|peer| host.link(peer)).transpose().explain("the node's end of the link")?.flatten();
    let recorded_peer = |peer: &Link| recorded(&result, &peer.name, "").cloned();
    let peer = match peer.filter(|peer| peer.peer_index == Some(link.index)) {
        Some(peer) => peer,
        None => return Err(drift(format_args!("the peer of {ifname} in the pod"), "an interface on the node", "none")),
    };
    let recorded_peer: Interface = recorded_peer(&peer)?;
    let what = format!("interface {} on the node", peer.name);
    let peer = expect_veth(Some(peer), &recorded_peer, &what)?;
    expect_mtu(&what, &peer, recorded_peer.mtu.or(config.mtu))?;
    if !peer.up || peer.oper_state != OperState::Up {
        return Err(drift(&what, "up", format_args!("{:?}", peer.oper_state)));
    }
    host::check(&host, &peer, &ips)?;
    forwarding(ips.iter().map(|ip| ip.address.ip()))?.iter().try_for_each(|setting| expect_sysctl(setting, "1"))?;
    if !config.masquerade {
        return Ok(());
    }
    masquerade::check(&masquerade::Subject { owner: &Owner::of(call), ips: &ips }, config.masquerade_backend)
}

fn expect_mtu(what: &str, link: &Link, expected: Option<u32>) -> Result<(), Error> {
    match expected.filter(|mtu| *mtu != link.mtu) {
        Some(mtu) => Err(drift(what, format_args!("mtu {mtu}"), link.mtu)),
        None => Ok(()),
    }
}
