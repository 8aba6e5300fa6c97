//! The `bandwidth` plugin: limits how fast a pod receives and sends. Chained after a plugin that made a veth pair.
//!
//! What the pod receives (ingress) leaves the node by the host's end of the pair, and waits there. What it sends
//! (egress) comes in by that end, where nothing can wait: it is led through an ifb device that has the limit.
//! The limit is a token bucket (`tbf`); where some subnets are exempt, an `htb` with two classes.
//!
//! The ifb is the only thing that outlives the pair. Its name follows from the attachment and its alias tells the owner,
//! so DEL and GC need neither a namespace nor a result.

mod config;
mod host_end;
mod ifb;
mod shaper;
mod undo;

use cni::{Attachment, AttachmentCall, CniResult, Error, ErrorCode, Interface, NetworkCall, Plugin};
use netlink::Side;
use pod::{Owner, Pod};

use crate::config::Config;
use crate::shaper::Shaper;
use crate::undo::Undo;

/// The plugin.
pub struct Bandwidth;

impl Plugin for Bandwidth {
    fn name(&self) -> &'static str {
        "bandwidth"
    }

    fn read_config(&self, call: &NetworkCall) -> Result<(), Error> {
        Config::read(call).map(drop)
    }

    fn add(&self, call: &AttachmentCall) -> Result<CniResult, Error> {
        let config = Config::read(&call.network)?;
        let mut result = prev_result(call)?;
        if config.is_unlimited() {
            return Ok(result);
        }
        let pod = Pod::open(call.netns()?)?;
        let host = pod::open_host()?;
        let end = host_end::find(&host, &pod, call, &result)?;

        let mut undo = Undo::new(&host, end.index);
        if let Some(limit) = &config.ingress {
            undo.root();
            let shaper = Shaper::new("ingressBurst", limit, &config, Side::Source, end.mtu);
            call.step("limit what the pod receives", || shaper.apply(&host, &end))?;
        }
        if let Some(limit) = &config.egress {
            let ifb = call.step("create the ifb", || ifb::create(&host, &Owner::of(call), &end))?;
            undo.ifb(ifb.index);
            let shaper = Shaper::new("egressBurst", limit, &config, Side::Destination, ifb.mtu);
            call.step("limit what the pod sends", || shaper.apply(&host, &ifb))?;
            call.step("lead the pod's packets there", || ifb::redirect(&host, &end, &ifb))?;
            result.interfaces.push(Interface {
                name: ifb.name,
                mac: ifb.mac.map(|mac| mac.to_string()).unwrap_or_default(),
                mtu: Some(ifb.mtu),
                ..Interface::default()
            });
        }
        undo.disarm();
        Ok(result)
    }

    fn check(&self, call: &AttachmentCall) -> Result<(), Error> {
        let config = Config::read(&call.network)?;
        let result = prev_result(call)?;
        if config.is_unlimited() {
            return Ok(());
        }
        let pod = Pod::open(call.netns()?)?;
        let host = pod::open_host()?;
        let end = host_end::find(&host, &pod, call, &result)?;
        if let Some(limit) = &config.ingress {
            Shaper::new("ingressBurst", limit, &config, Side::Source, end.mtu).verify(&host, &end)?;
        }
        if let Some(limit) = &config.egress {
            let ifb = ifb::verify(&host, &Owner::of(call), &end)?;
            Shaper::new("egressBurst", limit, &config, Side::Destination, ifb.mtu).verify(&host, &ifb)?;
        }
        Ok(())
    }

    fn del(&self, call: &AttachmentCall) -> Result<(), Error> {
        // What is on the host's end of the pair goes with it.
        let host = pod::open_host()?;
        call.step("delete the ifb", || ifb::delete(&host, &Owner::of(call)))
    }

    fn gc(&self, call: &NetworkCall, valid: &[Attachment]) -> Result<(), Error> {
        pod::delete_unowned(&pod::open_host()?, &call.config.name, valid, ifb::is_ifb)
    }

    fn status(&self, call: &NetworkCall) -> Result<(), Error> {
        Config::read(call).map(drop).map_err(|e| Error { code: ErrorCode::NOT_AVAILABLE, ..e })
    }
}

fn prev_result(call: &AttachmentCall) -> Result<CniResult, Error> {
    call.network.config.prev_result()?.ok_or_else(|| {
        Error::new(ErrorCode::INVALID_CONFIG, "must be called as chained plugin: prevResult is missing").with_details(
            format!(
                "network {:?}: in the conflist, put bandwidth after the plugin that makes the pod's interface",
                call.network.config.name
            ),
        )
    })
}
