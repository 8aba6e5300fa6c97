//! The `bridge` plugin: a veth pair from the pod to a Linux bridge, with addresses from an IPAM plugin.
//!
//! The order of ADD makes it safe to be killed anywhere and to run many times at once: the veth pair comes first, under
//! a name that follows from the attachment, so a second ADD of the same attachment stops there and DEL finds what is
//! left; then the address; a bridge that is not there yet is made only for a pod that has got its address.

mod bridge;
mod check;
mod config;
mod gateway;
mod port;
mod rules;

use cni::{Attachment, AttachmentCall, CniResult, Delegate, Error, NetworkCall, Plugin};
use pod::{Detection, Explain, Owner, Pod, Turn, Undo, Veth};

use crate::config::Config;

/// The plugin.
pub struct Bridge;

impl Plugin for Bridge {
    fn name(&self) -> &'static str {
        "bridge"
    }

    fn read_config(&self, call: &NetworkCall) -> Result<(), Error> {
        Config::read(call).map(drop)
    }

    fn add(&self, call: &AttachmentCall) -> Result<CniResult, Error> {
        let config = Config::read(&call.network)?;
        let ipam = config.ipam.as_deref().map(|plugin| Delegate::find(&call.network, plugin)).transpose()?;
        let ipam = ipam.map(|ipam| ipam.for_new_interface(&call.attachment));
        // It loads while we make the veth pair, and is given the config after.
        let reserving = ipam.as_ref().map(Delegate::start_add).transpose()?;
        let (pod, host, shared) = call.step("open the namespaces, find the bridge", || {
            let (pod, host) = (Pod::open(call.netns()?)?, pod::open_host()?);
            let shared = bridge::find(&host, &config.bridge)?;
            Ok::<_, Error>((pod, host, shared))
        })?;

        let owner = Owner::of(call);
        let _turn = Turn::take(&owner)?;
        let mut undo = Undo::new(&host);
        let create = || Veth::create(&host, &pod, &owner, config.mac, config.mtu);
        let port = call.step("create the veth pair", create)?;
        undo.link(&port.host.name);
        let connect = || {
            call.step("make the bridge and its port", || {
                let bridge = bridge::ensure(&host, shared.clone(), &config)?;
                port::attach(&host, &port.host, &bridge, &owner, &config).map(|()| bridge)
            })
        };
        let mut result = CniResult::default();
        let bridge = match ipam.as_ref().zip(reserving) {
            Some((ipam, reserving)) => {
                // A bridge that is there gets its port while the IPAM plugin runs; a new one is made only for a pod
                // that has got its address.
                let (reserved, connected) = reserving.add_while(|| shared.is_some().then(connect));
                result = reserved?;
                undo.address(ipam);
                gateway::complete(&mut result, &config)?;
                connected.unwrap_or_else(connect)?
            }
            None => connect()?,
        };

        if config.masquerade || config.mac_spoof_check {
            undo.rules(|| rules::remove(&owner, &[]));
            let subject = rules::Subject { owner: &owner, mac: port.pod_mac, ips: &result.ips };
            call.step("add the rules", || rules::add(&subject, &config))?;
        }
        let mut gateway_link = None;
        if ipam.is_some() {
            let detection = if config.detect_duplicates { Detection::On } else { Detection::Off };
            call.step("set addresses and routes", || pod.configure(&port.pod, &result, detection))?;
            if config.is_gateway {
                let gateways = gateway::gateways(&result);
                let serve = || bridge::serve_as_gateway(&host, &bridge, &gateways, &config);
                gateway_link = call.step("make the bridge the gateway", serve)?;
            }
        } else if !config.disable_container_interface {
            pod.switch_on(&port.pod)?;
        }
        // Read anew: a bridge that somebody else made takes on the MAC and the MTU of its ports.
        let bridge = if config.disable_container_interface {
            host.link(bridge.index).explain(&bridge.name)?.unwrap_or(bridge)
        } else {
            let bridge = call.step("wait until the port forwards", || {
                pod.wait_until_up(&port.pod)?;
                port::wait_until_forwarding(&host, &port.host, &bridge)
            })?;
            call.step("announce the addresses", || pod.announce(&port.pod, port.pod_mac));
            bridge
        };
        result.interfaces = vec![
            pod::interface(&bridge, bridge.mac, ""),
            pod::interface(&port.host, port.host.mac, ""),
            pod::interface(&port.pod, Some(port.pod_mac), &call.netns()?.to_string_lossy()),
        ];
        result.interfaces.extend(gateway_link.iter().map(|link| pod::interface(link, link.mac, "")));
        if !config.dns.is_empty() {
            result.dns = config.dns;
        }
        undo.disarm();
        Ok(result)
    }

    fn check(&self, call: &AttachmentCall) -> Result<(), Error> {
        let config = Config::read(&call.network)?;
        if let Some(plugin) = &config.ipam {
            Delegate::find(&call.network, plugin)?.check()?;
        }
        check::attachment(call, &config)?;
        let result = call.network.config.prev_result()?.unwrap_or_default();
        let (owner, mac) = (Owner::of(call), check::pod_mac(call, &result));
        rules::check(&rules::Subject { owner: &owner, mac, ips: &result.ips }, &config)
    }

    fn del(&self, call: &AttachmentCall) -> Result<(), Error> {
        let (host, owner) = (pod::open_host()?, Owner::of(call));
        let _turn = Turn::take(&owner)?;
        pod::detach(&host, call, || port::delete_others(&host, call), |ips| rules::remove(&owner, ips))
    }

    fn gc(&self, call: &NetworkCall, valid: &[Attachment]) -> Result<(), Error> {
        pod::collect(&pod::open_host()?, call, valid, || rules::remove_unowned(&call.config.name, valid))
    }

    fn status(&self, call: &NetworkCall) -> Result<(), Error> {
        let config = Config::read(call)?;
        rules::status(&config)?;
        let ready = bridge::status(&pod::open_host()?, &config, &call.config.name).and_then(|()| match &config.ipam {
            Some(plugin) => Delegate::find(call, plugin)?.status(),
            None => Ok(()),
        });
        ready.map_err(Error::unavailable)
    }
}
