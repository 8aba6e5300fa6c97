//! host-local: gives each pod addresses from ranges that belong to this node, and remembers them in files.
//!
//! Policy only: `config.rs` is what the user may say, `crates/ipam` is what happens on disk.

mod config;
mod errors;
mod pool;
mod resolv_conf;

use std::collections::BTreeSet;
use std::net::IpAddr;

use cni::{Attachment, AttachmentCall, Cidr, CniResult, Error, ErrorCode, IpConfig, NetworkCall, Plugin};
use ipam::{Assigned, Boot, Store};

use crate::config::Config;
use crate::errors::{of_store, several};

pub use crate::pool::Pool;

/// The plugin.
#[derive(Debug, Clone, Copy)]
pub struct HostLocal;

impl Plugin for HostLocal {
    fn name(&self) -> &'static str {
        "host-local"
    }

    fn read_config(&self, call: &NetworkCall) -> Result<(), Error> {
        Config::read(&call.config, &call.args).map(drop)
    }

    /// One address from each range set. Everything that can be wrong with the config is found before the first write.
    fn add(&self, call: &AttachmentCall) -> Result<CniResult, Error> {
        call.network.args.reject_unknown()?;
        let config = Config::read(&call.network.config, &call.network.args)?;
        let dns = config.dns()?;
        let holder = holder(&call.attachment);
        let allocate = if call.interface_is_new { Store::allocate_again } else { Store::allocate };
        let allocation = call
            .step("reserve the addresses", || allocate(&config.store, &holder, &config.sets, &config.requested))
            .map_err(|error| of_store(error).context(&call.attachment))?;
        for freed in &allocation.freed {
            let why = match freed.boot {
                Boot::Earlier => "of an earlier boot of this node",
                _ => "left without an owner",
            };
            let (address, file) = (freed.address, freed.file.display());
            cni::note(format_args!("released {address} ({file}), {why}: it was held by {}", freed.holder));
        }
        let ips = allocation.addresses.into_iter().map(ip_config).collect();
        Ok(CniResult { ips, routes: config.routes, dns, ..CniResult::default() })
    }

    /// The attachment must hold an address, and every address of `prevResult` that lies in one of our ranges. Others in
    /// `prevResult` may come from elsewhere.
    fn check(&self, call: &AttachmentCall) -> Result<(), Error> {
        let config = Config::read(&call.network.config, &call.network.args)?;
        let attachment = &call.attachment;
        let held = config.store.held_by(&holder(attachment)).map_err(|error| of_store(error).context(attachment))?;
        let failed = |msg: String| {
            let details = format!("the reservations are the files in {}", config.store.dir().display());
            Err(Error::new(ErrorCode::INTERNAL, msg).with_details(details))
        };
        let network = &call.network.config.name;
        if held.is_empty() {
            return failed(format!("failed to find an address of network {network:?} held by {attachment}"));
        }
        let expected: BTreeSet<IpAddr> =
            call.network.config.prev_result()?.unwrap_or_default().ips.iter().map(|ip| ip.address.ip()).collect();
        let ours = |address: &&IpAddr| config.sets.iter().any(|set| set.range_for(**address).is_some());
        match expected.iter().filter(ours).find(|address| !held.contains(address)) {
            None => Ok(()),
            Some(lost) => failed(format!(
                "prevResult gives {attachment} {lost} of network {network:?}, which is not reserved for it"
            )),
        }
    }

    /// Needs nothing of the config but where the files are: a DEL must work when the ranges are others by now, or wrong.
    fn del(&self, call: &AttachmentCall) -> Result<(), Error> {
        let store = config::store(&call.network.config)?;
        call.step("release the addresses", || store.release(&holder(&call.attachment)))
            .map(drop)
            .map_err(|error| of_store(error).context(&call.attachment))
    }

    fn gc(&self, call: &NetworkCall, valid: &[Attachment]) -> Result<(), Error> {
        let valid: Vec<_> = valid.iter().map(holder).collect();
        let store = config::store(&call.config)?;
        let collected = call.step("release addresses without an owner", || store.gc(&valid)).map_err(of_store)?;
        for reservation in &collected.released {
            cni::note(format_args!("GC released {} of {}", reservation.address, reservation.holder));
        }
        several(collected.failures, &call.config.name)
    }

    fn status(&self, call: &NetworkCall) -> Result<(), Error> {
        let config = Config::read(&call.config, &call.args)?;
        let unavailable = |error: Error| Error { code: ErrorCode::NOT_AVAILABLE, ..error };
        config.dns().map_err(unavailable)?;
        let usage = config.store.status(&config.sets).map_err(|error| unavailable(of_store(error)))?;
        match usage.into_iter().enumerate().find(|(_, usage)| usage.free() == 0) {
            None => Ok(()),
            Some((set, usage)) => Err(unavailable(of_store(config.store.full(set, usage)))),
        }
    }
}

fn holder(attachment: &Attachment) -> ipam::Attachment {
    ipam::Attachment::new(&attachment.container_id, &attachment.ifname)
}

fn ip_config(assigned: Assigned) -> IpConfig {
    IpConfig { interface: None, address: Cidr(assigned.address), gateway: Some(assigned.gateway) }
}
