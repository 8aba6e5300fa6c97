//! The `firewall` plugin: lets a pod's traffic through the node's firewall, and keeps bridges apart (`ingressPolicy`).
//! Chained after the plugin that gave the pod its addresses.
//!
//! With each backend, our own table records which addresses are whose (`native.rs`), and keeps bridges apart. Where more is
//! needed for packets to pass, iptables (`chains.rs`) or firewalld (`firewalld.rs`) is told about the addresses, too.
//! ADD records first and DEL removes the record last, so that what a killed call leaves can be found.

mod chains;
mod config;
mod errors;
#[cfg(feature = "firewalld")]
mod firewalld;
#[cfg(not(feature = "firewalld"))]
#[path = "firewalld/absent.rs"]
mod firewalld;
mod native;
mod node;
mod target;

use cni::{Attachment, AttachmentCall, CniResult, Error, ErrorCode, NetworkCall, Plugin};
use pod::Owner;

use crate::config::Config;
use crate::node::Node;
use crate::target::Target;

/// The plugin.
pub struct Firewall;

impl Plugin for Firewall {
    fn name(&self) -> &'static str {
        "firewall"
    }

    fn read_config(&self, call: &NetworkCall) -> Result<(), Error> {
        Config::read(call).map(drop)
    }

    fn add(&self, call: &AttachmentCall) -> Result<CniResult, Error> {
        let config = Config::read(&call.network)?;
        let result = prev_result(call)?;
        let target = Target::of(call, &config, &result)?;
        if target.addresses.is_empty() {
            return Ok(result);
        }
        let mut node = Node::open(&config)?;
        call.step("let the pod through", || node.add(&target)).inspect_err(|_| {
            // The ADD's own error is what the caller gets; the runtime's DEL will try this again.
            let owner = Owner::of(call);
            if let Err(e) = node.remove(&target.addresses, &|known| *known == owner) {
                cni::note(format_args!("undoing the failed ADD: {e}"));
            }
        })?;
        Ok(result)
    }

    fn check(&self, call: &AttachmentCall) -> Result<(), Error> {
        let config = Config::read(&call.network)?;
        let target = Target::of(call, &config, &prev_result(call)?)?;
        if target.addresses.is_empty() { Ok(()) } else { Node::open(&config)?.check(&target) }
    }

    fn del(&self, call: &AttachmentCall) -> Result<(), Error> {
        let owner = Owner::of(call);
        let result = call.network.config.prev_result_if_valid();
        let addresses: Vec<_> = result.ips.iter().map(|ip| ip.address.ip()).collect();
        let config = removal_config(&call.network);
        let mut node = Node::open(&config)?;
        call.step("remove what let the pod through", || node.remove(&addresses, &|known| *known == owner))
    }

    fn gc(&self, call: &NetworkCall, valid: &[Attachment]) -> Result<(), Error> {
        let network = &call.config.name;
        let gone = |owner: &Owner| owner.network == *network && !valid.contains(&owner.attachment);
        let config = removal_config(call);
        let mut node = Node::open(&config)?;
        node.remove(&[], &gone)?;
        node.remove_dead_fences()
    }

    fn status(&self, call: &NetworkCall) -> Result<(), Error> {
        let ready = Config::read(call).and_then(|config| Node::open(&config)?.ready());
        ready.map_err(|e| Error { code: ErrorCode::NOT_AVAILABLE, ..e })
    }
}

/// What was there is removed whatever the config says by now.
fn removal_config(call: &NetworkCall) -> Config {
    Config::read(call).unwrap_or_else(|e| {
        cni::note(format_args!("{e}; going on with the defaults to remove what is there"));
        Config::default()
    })
}

fn prev_result(call: &AttachmentCall) -> Result<CniResult, Error> {
    call.network.config.prev_result()?.ok_or_else(|| {
        let msg = "missing prevResult from earlier plugin: firewall must be called as a chained plugin";
        Error::new(ErrorCode::INVALID_CONFIG, msg).with_details(format!(
            "network {:?}: in the conflist, put firewall after the plugin that gives the pod its addresses",
            call.network.config.name
        ))
    })
}
