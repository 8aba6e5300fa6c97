//! `ipMasq` and `macspoofchk`: the rules of an attachment, and what the reference left of its own.

mod leftovers;
mod spoof;

use cni::{Attachment, Error, ErrorCode, IpConfig};
use netlink::MacAddr;
use nft::Nft;
use pod::Owner;

use crate::config::Config;

/// What an attachment's rules are about.
pub struct Subject<'a> {
    /// The attachment.
    pub owner: &'a Owner,
    /// The pod's MAC.
    pub mac: MacAddr,
    /// The pod's addresses.
    pub ips: &'a [IpConfig],
}

impl Subject<'_> {
    fn masqueraded(&self) -> masquerade::Subject<'_> {
        masquerade::Subject { owner: self.owner, ips: self.ips }
    }
}

/// Makes the rules that the config asks for.
///
/// # Errors
/// The kernel's or iptables'; what was made so far stays, for [`remove`].
pub fn add(subject: &Subject<'_>, config: &Config) -> Result<(), Error> {
    if config.mac_spoof_check {
        open().and_then(|mut nft| spoof::add(&mut nft, subject)).map_err(spoof_failed)?;
    }
    if masquerades(config) { masquerade::add(&subject.masqueraded(), config.masquerade_backend) } else { Ok(()) }
}

/// Finds a rule that the config asks for and that is not there, or not as [`add`] made it.
///
/// # Errors
/// What is missing.
pub fn check(subject: &Subject<'_>, config: &Config) -> Result<(), Error> {
    if config.mac_spoof_check {
        spoof::check(&mut open().map_err(spoof_failed)?, subject)?;
    }
    if masquerades(config) { masquerade::check(&subject.masqueraded(), config.masquerade_backend) } else { Ok(()) }
}

/// Removes every rule of the attachment, whatever the config says now. `ips` is where they are looked for first.
///
/// # Errors
/// The kernel's or iptables'.
pub fn remove(owner: &Owner, ips: &[IpConfig]) -> Result<(), Error> {
    let mut nft = masquerade::socket()?;
    if let Some(nft) = &mut nft {
        spoof::remove(nft, &owner.host_name()).map_err(spoof_failed)?;
    }
    let ours = masquerade::remove(nft.as_mut(), owner, ips)?;
    match &mut nft {
        Some(nft) if !ours => leftovers::remove(nft, owner).map_err(spoof_failed),
        _ => Ok(()),
    }
}

/// Removes the rules of `network` whose owner is not in `valid`.
///
/// # Errors
/// The kernel's.
pub fn remove_unowned(network: &str, valid: &[Attachment]) -> Result<(), Error> {
    let mut nft = masquerade::socket()?;
    let is_valid = |owner: &Owner| owner.network != network || valid.contains(&owner.attachment);
    let spoof = nft.as_mut().map_or(Ok(()), |nft| spoof::retain(nft, is_valid).map_err(spoof_failed));
    masquerade::remove_unowned(nft.as_mut(), network, valid).and(spoof)
}

/// Whether rules that the config asks for can be made at all.
///
/// # Errors
/// Code 50 with what is missing.
pub fn status(config: &Config) -> Result<(), Error> {
    if config.mac_spoof_check {
        open().map_err(|e| Error { code: ErrorCode::NOT_AVAILABLE, ..spoof_failed(e) })?;
    }
    if masquerades(config) { masquerade::status(config.masquerade_backend) } else { Ok(()) }
}

fn masquerades(config: &Config) -> bool {
    config.masquerade && config.ipam.is_some()
}

/// A socket into a kernel that has nf_tables: one without gives the socket, too, and refuses every question.
fn open() -> Result<Nft, nft::Error> {
    let mut nft = Nft::open()?;
    nft.generation().map(|_| nft)
}

fn spoof_failed(error: impl std::fmt::Display) -> Error {
    Error::new(ErrorCode::INTERNAL, format!("macspoofchk: {error}"))
}
