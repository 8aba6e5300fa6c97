//! The `loopback` plugin: switches on the pod's own `lo`.
//!
//! Runtimes call it first for each pod, with any interface name: it is always `lo`.

use cni::{Attachment, AttachmentCall, Cidr, CniResult, Error, Interface, IpConfig, NetworkCall, Plugin};
use netlink::{LinkChange, LinkKind};
use pod::{Explain, Pod, drift};

const LO: &str = "lo";

/// The plugin.
pub struct Loopback;

impl Plugin for Loopback {
    fn name(&self) -> &'static str {
        "loopback"
    }

    fn add(&self, call: &AttachmentCall) -> Result<CniResult, Error> {
        let pod = Pod::open(call.netns()?)?;
        switch(&pod, true)?;
        // In a chain, what the plugins before said is passed on.
        if let Some(before) = call.network.config.prev_result()? {
            return Ok(before);
        }
        let lo = find(&pod)?;
        let addresses = pod.netlink().addresses(lo.index).explain("the addresses of the pod's lo")?;
        let ip =
            |address: netlink::Address| IpConfig { interface: Some(0), address: Cidr(address.network), gateway: None };
        let interface = Interface {
            name: LO.to_owned(),
            mac: lo.mac.map(|mac| mac.to_string()).unwrap_or_default(),
            mtu: None,
            sandbox: call.netns()?.to_string_lossy().into_owned(),
            ..Interface::default()
        };
        Ok(CniResult {
            interfaces: vec![interface],
            ips: addresses.into_iter().map(ip).collect(),
            ..CniResult::default()
        })
    }

    fn check(&self, call: &AttachmentCall) -> Result<(), Error> {
        let pod = Pod::open(call.netns()?)?;
        let lo = find(&pod)?;
        if lo.up { Ok(()) } else { Err(drift("interface lo in the pod", "up", "down")) }
    }

    fn del(&self, call: &AttachmentCall) -> Result<(), Error> {
        match call.netns.as_deref().map(Pod::open_if_there).transpose()?.flatten() {
            Some(pod) => switch(&pod, false),
            None => Ok(()),
        }
    }

    fn gc(&self, _: &NetworkCall, _: &[Attachment]) -> Result<(), Error> {
        // A pod's lo goes with its namespace; nothing is kept on the node.
        Ok(())
    }

    fn status(&self, _: &NetworkCall) -> Result<(), Error> {
        Ok(())
    }
}

fn find(pod: &Pod) -> Result<netlink::Link, Error> {
    match pod.link(LO)? {
        Some(link) if link.kind == LinkKind::Loopback => Ok(link),
        Some(link) => {
            Err(drift("interface lo in the pod", "the loopback interface", format_args!("a {} interface", link.kind)))
        }
        None => Err(drift("interface lo in the pod", "the loopback interface", "none")),
    }
}

fn switch(pod: &Pod, up: bool) -> Result<(), Error> {
    let change = LinkChange { up: Some(up), ..LinkChange::default() };
    pod.netlink().change_link(LO, &change).explain("switching the pod's lo")
}
