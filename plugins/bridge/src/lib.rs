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

use cni::{Attachment, AttachmentCall, CniResult, Delegate, Error, ErrorCode, Interface, NetworkCall, Plugin};
use netlink::{Link, MacAddr, Netlink};
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
            let (pod, host) = (Pod::open(call.netns()?)?, open_host()?);
            let shared = bridge::find(&host, &config.bridge)?;
            Ok::<_, Error>((pod, host, shared))
        })?;

        let owner = owner(call);
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
        if !config.disable_container_interface {
            call.step("wait until the port forwards", || {
                port::wait_until_forwarding(&host, &port.host)?;
                pod.wait_until_up(&port.pod)
            })?;
            call.step("announce the addresses", || pod.announce(&port.pod, port.pod_mac));
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
        let (host, owner) = (open_host()?, owner(call));
        let _turn = Turn::take(&owner)?;
        // An address only after its link: it must not be given to another pod while this one can still use it.
        let release = || {
            // A result that cannot be read tells nothing, and must not keep the pod from going.
            let ips = call.network.config.prev_result().ok().flatten().unwrap_or_default().ips;
            call.step("remove the rules", || rules::remove(&owner, &ips))?;
            config::ipam_type(&call.network)?.map_or(Ok(()), |plugin| Delegate::find(&call.network, &plugin)?.del())
        };
        let link = owner.host_name();
        let deleted = call.step("delete the veth pair", || host.delete_link_then(&link, release));
        match deleted.explain(format_args!("interface {link}"))? {
            Some(released) => released,
            None => port::delete_others(&host, call).and_then(|()| release()),
        }
    }

    fn gc(&self, call: &NetworkCall, valid: &[Attachment]) -> Result<(), Error> {
        let network = &call.config.name;
        let host = open_host()?;
        let unlinked =
            call.step("delete links without an owner", || pod::delete_unowned(&host, network, valid, Link::is_veth));
        let unruled = call.step("remove rules without an owner", || rules::remove_unowned(network, valid));
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
        let ready = bridge::status(&open_host()?, &config, &call.config.name).and_then(|()| match &config.ipam {
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
