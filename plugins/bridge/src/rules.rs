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
    if config.mac_spoof_check {
        open().and_then(|mut nft| spoof::add(&mut nft, subject)).map_err(|e| failed("macspoofchk", e))?;
    }
    if !masquerades(config) {
        return Ok(());
    }
    if config.masquerade_backend != Some(MasqueradeBackend::Iptables) {
        let added = open().and_then(|mut nft| masquerade::add(&mut nft, subject));
        if !falls_back(config, &added) {
            return added.map_err(|e| failed("ipMasq", e));
        }
    }
    iptables_masquerade::add(subject).map_err(|e| failed("ipMasq", e))
}

/// Finds a rule that the config asks for and that is not there, or not as [`add`] made it.
///
/// # Errors
/// What is missing.
pub fn check(subject: &Subject<'_>, config: &Config) -> Result<(), Error> {
    if config.mac_spoof_check {
        spoof::check(&mut open().map_err(|e| failed("macspoofchk", e))?, subject)?;
    }
    if !masquerades(config) {
        return Ok(());
    }
    if config.masquerade_backend != Some(MasqueradeBackend::Iptables) {
        let asked = open().and_then(|mut nft| nft.chains(&masquerade::TABLE).map(|_| nft));
        if !falls_back(config, &asked) {
            return masquerade::check(&mut asked.map_err(|e| failed("ipMasq", e))?, subject);
        }
    }
    iptables_masquerade::check(subject)
}

/// Removes every rule of the attachment, whatever the config says now. `ips` is where they are looked for first.
///
/// # Errors
/// The kernel's or iptables'.
pub fn remove(owner: &Owner, ips: &[IpConfig]) -> Result<(), Error> {
    if let Some(mut nft) = open_if_supported()? {
        spoof::remove(&mut nft, &owner.host_name()).map_err(|e| failed("macspoofchk", e))?;
        if masquerade::remove(&mut nft, owner, ips).map_err(|e| failed("ipMasq", e))? {
            return Ok(());
        }
        leftovers::remove_nft(&mut nft, owner).map_err(|e| failed("the rules of another bridge plugin", e))?;
    }
    iptables_masquerade::remove(owner, ips).map_err(|e| failed("ipMasq", e))
}

/// Removes the rules of `network` whose owner is not in `valid`.
///
/// # Errors
/// The kernel's.
pub fn remove_unowned(network: &str, valid: &[Attachment]) -> Result<(), Error> {
    let of_iptables = iptables_masquerade::retain(network, valid).map_err(|e| failed("ipMasq", e));
    let Some(mut nft) = open_if_supported()? else { return of_iptables };
    let is_valid = |owner: &Owner| owner.network != network || valid.contains(&owner.attachment);
    let spoof = spoof::retain(&mut nft, is_valid).map_err(|e| failed("macspoofchk", e));
    masquerade::retain(&mut nft, is_valid).map_err(|e| failed("ipMasq", e)).and(spoof).and(of_iptables)
}

/// Whether rules that the config asks for can be made at all.
///
/// # Errors
/// Code 50 with what is missing.
pub fn status(config: &Config) -> Result<(), Error> {
    let unavailable = |e: Error| Error { code: ErrorCode::NOT_AVAILABLE, ..e };
    let of_nft = || open().map(drop).map_err(|e| unavailable(failed("nf_tables", e)));
    let of_iptables = || iptables::installed().map_err(|e| unavailable(failed("ipMasq", e)));
    if config.mac_spoof_check {
        of_nft()?;
    }
    match config.masquerade_backend {
        _ if !masquerades(config) => Ok(()),
        Some(MasqueradeBackend::Nftables) => of_nft(),
        Some(MasqueradeBackend::Iptables) => of_iptables(),
        None => of_nft().or_else(|_| of_iptables()),
    }
}

fn masquerades(config: &Config) -> bool {
    config.masquerade && config.ipam.is_some()
}

/// Whether iptables is to do what nf_tables cannot, where the config leaves the choice to us. Asked of the attempt itself:
/// to find out beforehand costs 10 ms, which the kernel takes to undo a trial.
fn falls_back<T>(config: &Config, attempt: &Result<T, nft::Error>) -> bool {
    config.masquerade_backend.is_none() && attempt.as_ref().is_err_and(nft::Error::is_unsupported)
}

/// A socket into a kernel that has nf_tables: one without gives the socket, too, and refuses every question.
fn open() -> Result<Nft, nft::Error> {
    let mut nft = Nft::open()?;
    nft.generation().map(|_| nft)
}

/// The same where there may be nothing to remove: `None` for a kernel that cannot have any of our rules.
fn open_if_supported() -> Result<Option<Nft>, Error> {
    match open() {
        Ok(nft) => Ok(Some(nft)),
        Err(e) if e.is_unsupported() => Ok(None),
        Err(e) => Err(failed("nf_tables", e)),
    }
}

fn failed(what: &str, error: impl std::fmt::Display) -> Error {
    Error::new(ErrorCode::INTERNAL, format!("{what}: {error}"))
}
