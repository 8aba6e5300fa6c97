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
mod undo;

use cni::{Attachment, AttachmentCall, CniResult, Delegate, Error, ErrorCode, Interface, NetworkCall, Plugin};
use netlink::{Link, MacAddr, Netlink};
use pod::{Detection, Explain, Owner, Pod};

use crate::config::Config;
use crate::undo::Undo;

/// The plugin.
pub struct Bridge;

impl Plugin for Bridge {
    fn name(&self) -> &'static str {
        "bridge"
    }

    fn add(&self, call: &AttachmentCall) -> Result<CniResult, Error> {
        let config = Config::read(&call.network)?;
        let ipam = config.ipam.as_deref().map(|plugin| Delegate::find(&call.network, plugin)).transpose()?;
        // It loads while we make the veth pair, and is given the config after.
        let reserving = ipam.as_ref().map(Delegate::start_add).transpose()?;
        let pod = Pod::open(call.netns()?)?;
        let host = open_host()?;
        let shared = bridge::find(&host, &config.bridge)?;

        let owner = owner(call);
        let mut undo = Undo::new(&host, &owner);
        let port = port::create(&host, &pod, &owner, &config)?;
        undo.link(&port.host.name);
        let connect = || {
            let bridge = bridge::ensure(&host, &config)?;
            port::attach(&host, &port.host, &bridge, &owner, &config).map(|()| bridge)
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
            undo.rules();
            rules::add(&rules::Subject { owner: &owner, mac: port.pod_mac, ips: &result.ips }, &config)?;
        }
        let mut gateway_link = None;
        if ipam.is_some() {
            let detection = if config.detect_duplicates { Detection::On } else { Detection::Off };
            pod.configure(&port.pod, &result, detection)?;
            if config.is_gateway {
                gateway_link = bridge::serve_as_gateway(&host, &bridge, &gateway::gateways(&result), &config)?;
            }
        } else if !config.disable_container_interface {
            pod.switch_on(&port.pod)?;
        }
        if !config.disable_container_interface {
            port::wait_until_forwarding(&host, &port.host)?;
            pod.wait_until_up(&port.pod)?;
            pod.announce(&port.pod, port.pod_mac);
        }

        // One that somebody else made takes on the MAC and the MTU of its ports.
        let bridge = host.link(bridge.index).explain(&bridge.name)?.unwrap_or(bridge);
        result.interfaces = vec![
            interface(&bridge, bridge.mac, ""),
            interface(&port.host, port.host.mac, ""),
            interface(&port.pod, Some(port.pod_mac), &call.netns()?.to_string_lossy()),
        ];
        result.interfaces.extend(gateway_link.iter().map(|link| interface(link, link.mac, "")));
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
        let (owner, mac) = (owner(call), check::pod_mac(call, &result));
        rules::check(&rules::Subject { owner: &owner, mac, ips: &result.ips }, &config)
    }

    fn del(&self, call: &AttachmentCall) -> Result<(), Error> {
        let host = open_host()?;
        // A result that cannot be read tells nothing, and must not keep the pod from going.
        let ips = call.network.config.prev_result().ok().flatten().unwrap_or_default().ips;
        // The kernel makes both wait for its grace periods, 15 ms each: at the same time.
        let (unlinked, unruled) = std::thread::scope(|scope| {
            let rules = scope.spawn(|| rules::remove(&owner(call), &ips));
            (port::delete(&host, call), rules.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        });
        // Only then the address: it must not be given to another pod while this one can still use it.
        unlinked.and(unruled)?;
        match config::ipam_type(&call.network)? {
            Some(plugin) => Delegate::find(&call.network, &plugin)?.del(),
            None => Ok(()),
        }
    }

    fn gc(&self, call: &NetworkCall, valid: &[Attachment]) -> Result<(), Error> {
        let network = &call.config.name;
        let unlinked = pod::delete_unowned(&open_host()?, network, valid, Link::is_veth);
        let unruled = rules::remove_unowned(network, valid);
        // As in DEL: no address of a pod that is still linked.
        unlinked.and_then(|()| match config::ipam_type(call)? {
            Some(plugin) => Delegate::find(call, &plugin)?.gc(),
            None => Ok(()),
        })?;
        unruled
    }

    fn status(&self, call: &NetworkCall) -> Result<(), Error> {
        let config = Config::read(call)?;
        rules::status(&config)?;
        let ready = bridge::find(&open_host()?, &config.bridge).map(drop).and_then(|()| match &config.ipam {
            Some(plugin) => Delegate::find(call, plugin)?.status(),
            None => Ok(()),
        });
        ready.map_err(|e| match e.code {
            ErrorCode::NOT_AVAILABLE | ErrorCode::LIMITED_CONNECTIVITY => e,
            _ => Error { code: ErrorCode::NOT_AVAILABLE, ..e },
        })
    }
}

fn open_host() -> Result<Netlink, Error> {
    Netlink::new().explain("the node's network namespace")
}

fn owner(call: &AttachmentCall) -> Owner {
    Owner { network: call.network.config.name.clone(), attachment: call.attachment.clone() }
}

fn interface(link: &Link, mac: Option<MacAddr>, sandbox: &str) -> Interface {
    Interface {
        name: link.name.clone(),
        mac: mac.map(|mac| mac.to_string()).unwrap_or_default(),
        mtu: Some(link.mtu),
        sandbox: sandbox.to_owned(),
        ..Interface::default()
    }
}
