//! The `ptp` plugin: a veth pair between the pod and the node, which routes what goes in and out; no bridge.
//!
//! ADD keeps bridge's order, which makes it safe to be killed anywhere: the pair comes first, under a name that follows from
//! the attachment, then the address, then what hangs on the pair and goes with it.

mod check;
mod config;
mod host;

use cni::{Attachment, AttachmentCall, CniResult, Delegate, Error, ErrorCode, IpConfig, NetworkCall, Plugin};
use pod::{Owner, Pod, Turn, Undo, Veth};

use crate::config::Config;

/// The index in `interfaces` of the pod's interface: host end, pod end, as the reference orders them.
const POD_INTERFACE: usize = 1;
/// IPv6 wants links to carry 1,280 bytes (RFC 8200); the kernel switches it off below.
const MIN_MTU_V6: u32 = 1280;

/// The plugin.
pub struct Ptp;

impl Plugin for Ptp {
    fn name(&self) -> &'static str {
        "ptp"
    }

    fn read_config(&self, call: &NetworkCall) -> Result<(), Error> {
        Config::read(call).map(drop)
    }

    fn add(&self, call: &AttachmentCall) -> Result<CniResult, Error> {
        let config = Config::read(&call.network)?;
        let ipam = Delegate::find(&call.network, &config.ipam)?.for_new_interface(&call.attachment);
        // It loads while we make the veth pair, and is given the config after.
        let reserving = ipam.start_add()?;
        let (pod, host) =
            call.step("open the namespaces", || Ok::<_, Error>((Pod::open(call.netns()?)?, pod::open_host()?)))?;
        let owner = Owner::of(call);
        let _turn = Turn::take(&owner)?;
        let mut undo = Undo::new(&host);
        let create = || Veth::create(&host, &pod, &owner, None, config.mtu);
        let veth = call.step("create the veth pair", create)?;
        undo.link(&veth.host.name);
        let mut result = reserving.add()?;
        undo.address(&ipam);
        complete(&mut result.ips, &config)?;

        if config.masquerade {
            undo.rules(|| remove_rules(&owner, &[]));
            let subject = masquerade::Subject { owner: &owner, ips: &result.ips };
            call.step("add the rules", || masquerade::add(&subject, config.masquerade_backend))?;
        }
        call.step("set addresses and routes of the pod", || pod.configure_routed(&veth.pod, &result))?;
        call.step("set addresses and routes of the node", || {
            host::connect(&host, &veth.host, &owner, &result.ips)?;
            pod::forward(result.ips.iter().map(|ip| ip.address.ip()))
        })?;
        call.step("wait until the link is up", || {
            pod.wait_until_up(&veth.pod)?;
            pod::wait_until_up(&host, &veth.host)
        })?;

        result.interfaces = vec![
            pod::interface(&veth.host, veth.host.mac, ""),
            pod::interface(&veth.pod, Some(veth.pod_mac), &call.netns()?.to_string_lossy()),
        ];
        if !config.dns.is_empty() {
            result.dns = config.dns;
        }
        undo.disarm();
        Ok(result)
    }

    fn check(&self, call: &AttachmentCall) -> Result<(), Error> {
        let config = Config::read(&call.network)?;
        Delegate::find(&call.network, &config.ipam)?.check()?;
        check::attachment(call, &config)
    }

    fn del(&self, call: &AttachmentCall) -> Result<(), Error> {
        let (host, owner) = (pod::open_host()?, Owner::of(call));
        let _turn = Turn::take(&owner)?;
        let delete_others = || pod::delete_foreign_veth(&host, call, |peer| host::looks_like_ours(&host, peer));
        pod::detach(&host, call, delete_others, |ips| remove_rules(&owner, ips))
    }

    fn gc(&self, call: &NetworkCall, valid: &[Attachment]) -> Result<(), Error> {
        pod::collect(&pod::open_host()?, call, valid, || {
            masquerade::remove_unowned(masquerade::socket()?.as_mut(), &call.config.name, valid)
        })
    }

    fn status(&self, call: &NetworkCall) -> Result<(), Error> {
        let config = Config::read(call)?;
        let rules = if config.masquerade { masquerade::status(config.masquerade_backend) } else { Ok(()) };
        rules.and_then(|()| Delegate::find(call, &config.ipam)?.status()).map_err(Error::unavailable)
    }
}

/// Completes what the IPAM plugin returned: each address is the pod's.
///
/// # Errors
/// When it gave no address, or one that cannot work with this config.
fn complete(ips: &mut [IpConfig], config: &Config) -> Result<(), Error> {
    if ips.is_empty() {
        return Err(Error::new(ErrorCode::INTERNAL, "IPAM plugin returned missing IP config")
            .with_details("its result has no ips; ptp has nothing to route then"));
    }
    for ip in ips {
        ip.interface = Some(POD_INTERFACE);
        if let Some(mtu) = config.mtu.filter(|mtu| *mtu < MIN_MTU_V6 && ip.address.ip().is_ipv6()) {
            let msg = format!("mtu: {mtu} is too small for the IPv6 address {}", ip.address);
            return Err(Error::new(ErrorCode::INVALID_CONFIG, msg).with_details("IPv6 needs an mtu of at least 1280"));
        }
        if ip.gateway.is_none() {
            let msg = format!("IPAM gave {} without a gateway, which ptp gives the node's end of the link", ip.address);
            return Err(Error::new(ErrorCode::INVALID_CONFIG, msg).with_details(
                "add a gateway to the address in ipam; it may be a link-local one, such as 169.254.1.1",
            ));
        }
    }
    Ok(())
}

fn remove_rules(owner: &Owner, ips: &[IpConfig]) -> Result<(), Error> {
    let mut nft = masquerade::socket()?;
    masquerade::remove(nft.as_mut(), owner, ips).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ipam_gave_must_fit_a_routed_link() {
        let ip = |address: &str, gateway: Option<&str>| IpConfig {
            interface: None,
            address: address.parse().unwrap(),
            gateway: gateway.map(|gateway| gateway.parse().unwrap()),
        };
        let config = |mtu| Config {
            mtu,
            masquerade: false,
            masquerade_backend: None,
            ipam: "host-local".to_owned(),
            dns: cni::Dns::default(),
        };
        let mut good = [ip("10.0.0.2/32", Some("169.254.1.1"))];
        complete(&mut good, &config(Some(576))).unwrap();
        assert_eq!(good[0].interface, Some(1));
        for (mut ips, mtu, word) in [
            (vec![], None, "missing IP config"),
            (vec![ip("10.0.0.2/24", None)], None, "10.0.0.2/24 without a gateway"),
            (vec![ip("fd00::2/64", Some("fd00::1"))], Some(1279), "1279 is too small"),
        ] {
            let error = complete(&mut ips, &config(mtu)).unwrap_err();
            assert!(error.msg.contains(word), "{error}");
        }
    }
}
