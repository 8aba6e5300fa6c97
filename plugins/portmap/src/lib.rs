//! The `portmap` plugin: ports of the node that lead to a pod. Chained after the plugins that gave it an interface and addresses.
//!
//! By default the mappings are elements of one nf_tables table (`native.rs`); `"backend": "iptables"` keeps them in the
//! reference's chains (`chains.rs`). A port that another container has is an error. DEL and GC also remove what the Go
//! reference left.

mod chains;
mod conditions;
mod config;
mod conntrack;
mod errors;
mod localnet;
mod mapping;
mod native;
mod reference;
mod request;
mod wire;

use cni::{Attachment, AttachmentCall, CniResult, Error, ErrorCode, NetworkCall, Plugin};
use iptables::Programs;
use nft::Nft;
use pod::Owner;

use crate::config::{Backend, Config};
use crate::conntrack::Stale;
use crate::errors::kernel;
use crate::mapping::Protocol;
use crate::native::{Record, Refused};
use crate::request::Request;

/// The plugin.
pub struct Portmap;

impl Plugin for Portmap {
    fn name(&self) -> &'static str {
        "portmap"
    }

    fn read_config(&self, call: &NetworkCall) -> Result<(), Error> {
        Config::read(call).map(drop)
    }

    fn add(&self, call: &AttachmentCall) -> Result<CniResult, Error> {
        let config = Config::read(&call.network)?;
        let result = prev_result(call)?;
        let Some(request) = Request::of(call, &config, &result)? else { return Ok(result) };
        if !call.step("add the mappings to nf_tables", || add_native(&request))? {
            call.step("add the mappings to iptables", || add_chains(&request))?;
        }
        flush(request.mappings.iter().filter(|mapping| mapping.protocol == Protocol::Udp).map(Stale::NotTo).collect());
        Ok(result)
    }

    fn check(&self, call: &AttachmentCall) -> Result<(), Error> {
        let config = Config::read(&call.network)?;
        let result = prev_result(call)?;
        let Some(request) = Request::of(call, &config, &result)? else { return Ok(()) };
        match usable_nft(&config)? {
            Some(mut nft) => {
                let wanted = request.available(&mut nft)?;
                native::check(&mut nft, &wanted)?;
            }
            None => request.chains().check()?,
        }
        request.localnet().map_or(Ok(()), localnet::check)
    }

    fn del(&self, call: &AttachmentCall) -> Result<(), Error> {
        let (network, container_id) = (&call.network.config.name, &call.attachment.container_id);
        let mut nft = open_if_there()?;
        let mut removed = Ok(Vec::new());
        if let (Some(nft), Some(tag)) = (&mut nft, Owner::of(call).alias()) {
            removed = call.step("remove the mappings from nf_tables", || {
                native::own_ports(nft, &tag, &config::mappings_if_valid(&call.network))
                    .and_then(|also| native::remove(nft, &tag, &also))
                    .and_then(|records| reference::remove(nft, container_id).map(|()| records))
                    .map_err(kernel)
            });
        }
        let of_chains =
            call.step("remove the chains", || chains::remove(network, container_id)).map_err(errors::program);
        let records: Vec<Record> = [&removed, &of_chains].into_iter().flatten().flatten().cloned().collect();
        flush(stale(&records));
        removed.and(of_chains).map(drop)
    }

    fn gc(&self, call: &NetworkCall, valid: &[Attachment]) -> Result<(), Error> {
        let network = &call.config.name;
        let mut nft = open_if_there()?;
        let removed = nft.as_mut().map_or(Ok(Vec::new()), |nft| native::gc(nft, network, valid)).map_err(kernel);
        let of_chains = chains::gc(network, valid).map_err(errors::program);
        let records: Vec<Record> = [&removed, &of_chains].into_iter().flatten().flatten().cloned().collect();
        flush(stale(&records));
        removed.and(of_chains).map(drop)
    }

    fn status(&self, call: &NetworkCall) -> Result<(), Error> {
        let unavailable = |e: Error| Error { code: ErrorCode::NOT_AVAILABLE, ..e };
        let config = Config::read(call).map_err(unavailable)?;
        match usable_nft(&config).map_err(unavailable)? {
            Some(_) => Ok(()),
            None => chains::available().map_err(|e| unavailable(errors::program(e))),
        }
    }
}

/// Makes the mappings in nf_tables; false where the iptables backend has to.
fn add_native(request: &Request<'_>) -> Result<bool, Error> {
    if request.config.backend == Some(Backend::Iptables) {
        return Ok(false);
    }
    let mut wanted = request.wanted();
    let mut nft = match Nft::open() {
        Err(error) if error.is_unsupported() && request.config.backend.is_none() => return Ok(false),
        opened => opened.map_err(kernel)?,
    };
    request.refuse_held_elsewhere(&mut nft, |_, _| false)?;
    loop {
        match native::add(&mut nft, &wanted) {
            Ok(()) => break,
            Err(Refused::Kernel(error)) if error.is_unsupported() && request.config.backend.is_none() => {
                return Ok(false);
            }
            Err(refused) => request.leave_to_own_container(&mut wanted, refused)?,
        }
    }
    request.open_localnet().inspect_err(|_| {
        if let Err(e) = native::remove(&mut nft, &wanted.tag, &[]) {
            cni::note(format_args!("undoing the failed ADD: {e}"));
        }
    })?;
    Ok(true)
}

/// Makes the mappings in the reference's chains.
fn add_chains(request: &Request<'_>) -> Result<(), Error> {
    let chains = request.chains();
    let unconditional = request.config.conditions_v4.is_empty() && request.config.conditions_v6.is_empty();
    if unconditional && let Some(mut nft) = open_if_there()? {
        request.available(&mut nft)?;
        // What is in the chains of the node's own iptables is seen when they are changed.
        request.refuse_held_elsewhere(&mut nft, |family, programs| Programs::of_node(family) == programs)?;
    }
    // A port that another has is found before anything is changed; what is there is then of an earlier ADD.
    let is_refused = |error: &Error| error.code == errors::HELD;
    chains.add().and_then(|()| request.open_localnet()).inspect_err(|error| {
        if !is_refused(error)
            && let Err(e) = chains::remove(&request.network, &request.attachment.container_id)
        {
            cni::note(format_args!("undoing the failed ADD: {e}"));
        }
    })
}

/// nf_tables where the native backend is asked for, or nothing is and the kernel can do it; `None` for the iptables backend.
fn usable_nft(config: &Config) -> Result<Option<Nft>, Error> {
    if config.backend == Some(Backend::Iptables) {
        return Ok(None);
    }
    let opened = Nft::open().and_then(|mut nft| nft.supports(nft::Family::Inet).map(|can| can.then_some(nft)));
    match (opened, config.backend) {
        (Ok(None), None) => Ok(None),
        (Err(error), None) if error.is_unsupported() => Ok(None),
        (Ok(None), Some(_)) => {
            let msg = "backend: this kernel has no nf_tables for the inet family; load its modules, or use iptables";
            Err(Error::new(ErrorCode::INTERNAL, msg))
        }
        (opened, _) => opened.map_err(kernel),
    }
}

/// nf_tables, to remove what may be there.
fn open_if_there() -> Result<Option<Nft>, Error> {
    match Nft::open().and_then(|mut nft| nft.generation().map(|_| nft)) {
        Err(error) if error.is_unsupported() => Ok(None),
        opened => opened.map(Some).map_err(kernel),
    }
}

fn stale(records: &[Record]) -> Vec<Stale<'static>> {
    let udp = records.iter().filter(|record| record.protocol == Protocol::Udp);
    udp.map(|record| Stale::To { host_port: record.host_port, host_ip: record.host_ip, pod: record.pod }).collect()
}

/// Forgets stale UDP connections. They end by themselves when nothing is sent for two minutes, so it is no error if this fails.
fn flush(stale: Vec<Stale<'_>>) {
    if !stale.is_empty()
        && let Err(e) = conntrack::flush(&stale)
    {
        cni::note(format_args!("stale UDP connections of host ports could not be forgotten: {e}"));
    }
}

fn prev_result(call: &AttachmentCall) -> Result<CniResult, Error> {
    call.network.config.prev_result()?.ok_or_else(|| {
        Error::new(ErrorCode::INVALID_CONFIG, "must be called as chained plugin: prevResult is missing").with_details(
            format!(
                "network {:?}: in the conflist, put portmap after the plugin that makes the pod's interface",
                call.network.config.name
            ),
        )
    })
}
