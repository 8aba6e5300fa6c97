//! `ipMasq` and `macspoofchk`: the rules of an attachment, in either backend, and what the reference left of its own.

mod iptables_masquerade;
mod leftovers;
mod masquerade;
mod spoof;

use cni::{Attachment, Error, ErrorCode, IpConfig};
use netlink::MacAddr;
use nft::Nft;
use pod::Owner;

use crate::config::{Config, MasqueradeBackend};

/// What an attachment's rules are about.
pub struct Subject<'a> {
    /// The attachment.
    pub owner: &'a Owner,
    /// The pod's MAC.
    pub mac: MacAddr,
    /// The pod's addresses.
    pub ips: &'a [IpConfig],
}

/// Makes the rules that the config asks for.
///
/// # Errors
/// The kernel's or iptables'; what was made so far stays, for [`remove`].
pub fn add(subject: &Subject<'_>, config: &Config) -> Result<(), Error> {
    let mut nft = open();
    if config.mac_spoof_check {
        spoof::add(usable(&mut nft)?, subject).map_err(|e| failed("macspoofchk", e))?;
    }
    match masquerade_backend(config, &mut nft) {
        None => Ok(()),
        Some(MasqueradeBackend::Nftables) => {
            masquerade::add(usable(&mut nft)?, subject).map_err(|e| failed("ipMasq", e))
        }
        Some(MasqueradeBackend::Iptables) => iptables_masquerade::add(subject).map_err(|e| failed("ipMasq", e)),
    }
}

/// Finds a rule that the config asks for and that is not there, or not as [`add`] made it.
///
/// # Errors
/// What is missing.
pub fn check(subject: &Subject<'_>, config: &Config) -> Result<(), Error> {
    if !(config.masquerade || config.mac_spoof_check) {
        return Ok(());
    }
    let mut nft = open();
    if config.mac_spoof_check {
        spoof::check(usable(&mut nft)?, subject)?;
    }
    match masquerade_backend(config, &mut nft) {
        None => Ok(()),
        Some(MasqueradeBackend::Nftables) => masquerade::check(usable(&mut nft)?, subject),
        Some(MasqueradeBackend::Iptables) => iptables_masquerade::check(subject),
    }
}

/// Removes every rule of the attachment, whatever the config says now. `ips` is where they are looked for first.
///
/// # Errors
/// The kernel's or iptables'.
pub fn remove(owner: &Owner, ips: &[IpConfig]) -> Result<(), Error> {
    // No nf_tables in the kernel, or none in this user namespace: no rule of ours, and none of the reference's in it.
    if let Ok(mut nft) = open() {
        spoof::remove(&mut nft, &owner.host_name()).map_err(|e| failed("macspoofchk", e))?;
        if masquerade::remove(&mut nft, owner, ips).map_err(|e| failed("ipMasq", e))? {
            return Ok(());
        }
        leftovers::remove_nft(&mut nft, owner).map_err(|e| failed("the rules of another bridge plugin", e))?;
    }
    iptables_masquerade::remove(owner).map_err(|e| failed("ipMasq", e))
}

/// Removes the rules of `network` whose owner is not in `valid`.
///
/// # Errors
/// The kernel's.
pub fn remove_unowned(network: &str, valid: &[Attachment]) -> Result<(), Error> {
    let Ok(mut nft) = open() else { return Ok(()) };
    let is_valid = |owner: &Owner| owner.network != network || valid.contains(&owner.attachment);
    let spoof = spoof::retain(&mut nft, is_valid).map_err(|e| failed("macspoofchk", e));
    masquerade::retain(&mut nft, is_valid).map_err(|e| failed("ipMasq", e)).and(spoof)
}

/// Whether rules that the config asks for can be made at all.
///
/// # Errors
/// Code 50 with what is missing.
pub fn status(config: &Config) -> Result<(), Error> {
    if !(config.masquerade || config.mac_spoof_check) {
        return Ok(());
    }
    let mut nft = open();
    if config.mac_spoof_check || masquerade_backend(config, &mut nft) == Some(MasqueradeBackend::Nftables) {
        usable(&mut nft).map_err(|e| Error { code: ErrorCode::NOT_AVAILABLE, ..e })?;
    }
    Ok(())
}

/// The backend for `ipMasq`: the one the config names, else ours where the kernel has it.
fn masquerade_backend(config: &Config, nft: &mut Result<Nft, nft::Error>) -> Option<MasqueradeBackend> {
    if !config.masquerade || config.ipam.is_none() {
        return None;
    }
    Some(config.masquerade_backend.unwrap_or_else(|| {
        let can = nft.as_mut().is_ok_and(|nft| nft.supports(nft::Family::Inet).unwrap_or(false));
        if can { MasqueradeBackend::Nftables } else { MasqueradeBackend::Iptables }
    }))
}

/// A socket into a kernel that has nf_tables: one without takes the socket, and refuses every question.
fn open() -> Result<Nft, nft::Error> {
    let mut nft = Nft::open()?;
    nft.generation().map(|_| nft)
}

fn usable(nft: &mut Result<Nft, nft::Error>) -> Result<&mut Nft, Error> {
    nft.as_mut().map_err(|e| failed("nf_tables", e))
}

fn failed(what: &str, error: impl std::fmt::Display) -> Error {
    Error::new(ErrorCode::INTERNAL, format!("{what}: {error}"))
}
