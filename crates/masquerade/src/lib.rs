//! Who leaves the node under its address: `ipMasq`, for every plugin that gives a pod an interface.
//!
//! | file | what it knows |
//! | --- | --- |
//! | `native.rs` | nf_tables: an element per pod, a chain per subnet |
//! | `chains.rs` | iptables, for who asks for it and kernels without nf_tables: the reference's chains |
//! | `leftovers.rs` | what the reference's nf_tables backend made |

mod chains;
mod leftovers;
mod native;

use cni::{Attachment, Error, ErrorCode, IpConfig};
use nft::Nft;
use pod::Owner;
use serde::Deserialize;

/// What makes the rules: the config key `ipMasqBackend`. Where it is not given, nf_tables does, and iptables on a kernel
/// without.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// nf_tables, over netlink.
    Nftables,
    /// `iptables-restore`.
    Iptables,
}

/// What an attachment's rules are about.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The attachment.
    pub owner: &'a Owner,
    /// The pod's addresses, each with its subnet: what goes there keeps the pod's address.
    pub ips: &'a [IpConfig],
}

/// Makes the rules.
///
/// # Errors
/// The kernel's or iptables'; what was made so far stays, for [`remove`].
pub fn add(subject: &Subject<'_>, backend: Option<Backend>) -> Result<(), Error> {
    if backend != Some(Backend::Iptables) {
        let added = open().and_then(|mut nft| native::add(&mut nft, subject));
        if !falls_back(backend, &added) {
            return added.map_err(failed);
        }
    }
    chains::add(subject).map_err(failed)
}

/// Finds a rule that is not there, or not as [`add`] made it.
///
/// # Errors
/// What is missing.
pub fn check(subject: &Subject<'_>, backend: Option<Backend>) -> Result<(), Error> {
    if backend != Some(Backend::Iptables) {
        let asked = open().and_then(|mut nft| nft.chains(&native::TABLE).map(|_| nft));
        if !falls_back(backend, &asked) {
            return native::check(&mut asked.map_err(failed)?, subject);
        }
    }
    chains::check(subject)
}

/// Removes every rule of the attachment, in whatever backend, and the reference's. `ips` is where they are looked for first. `nft`
/// is what [`socket`] gave. Tells whether they were our own in nf_tables: then nobody else made any for this attachment.
///
/// # Errors
/// The kernel's or iptables'.
pub fn remove(nft: Option<&mut Nft>, owner: &Owner, ips: &[IpConfig]) -> Result<bool, Error> {
    if let Some(nft) = nft {
        if native::remove(nft, owner, ips).map_err(failed)? {
            return Ok(true);
        }
        leftovers::remove(nft, owner).map_err(failed)?;
    }
    chains::remove(owner, ips).map_err(failed).map(|()| false)
}

/// Removes the rules of `network` whose owner is not in `valid`. `nft` is what [`socket`] gave.
///
/// # Errors
/// The kernel's or iptables', after all was tried.
pub fn remove_unowned(nft: Option<&mut Nft>, network: &str, valid: &[Attachment]) -> Result<(), Error> {
    let of_iptables = chains::retain(network, valid).map_err(failed);
    let is_valid = |owner: &Owner| owner.network != network || valid.contains(&owner.attachment);
    nft.map_or(Ok(()), |nft| native::retain(nft, is_valid).map_err(failed)).and(of_iptables)
}

/// Whether rules can be made at all.
///
/// # Errors
/// Code 50 with what is missing.
pub fn status(backend: Option<Backend>) -> Result<(), Error> {
    let unavailable = |e: Error| Error { code: ErrorCode::NOT_AVAILABLE, ..e };
    let of_nft = || open().map(drop).map_err(|e| unavailable(failed(e)));
    let of_iptables = || iptables::installed().map_err(|e| unavailable(failed(e)));
    match backend {
        Some(Backend::Nftables) => of_nft(),
        Some(Backend::Iptables) => of_iptables(),
        None => of_nft().or_else(|_| of_iptables()),
    }
}

/// A socket for [`remove`] and [`remove_unowned`], to be shared with who has more to remove. `None` for a kernel that cannot have any rule of ours.
///
/// # Errors
/// The kernel gives no socket.
pub fn socket() -> Result<Option<Nft>, Error> {
    match open() {
        Ok(nft) => Ok(Some(nft)),
        Err(e) if e.is_unsupported() => Ok(None),
        Err(e) => Err(Error::new(ErrorCode::INTERNAL, format!("nf_tables: {e}"))),
    }
}

/// Whether iptables is to do what nf_tables cannot, where the config leaves the choice to us. Asked of the attempt itself,
/// which on most nodes is all that there is to do.
fn falls_back<T>(backend: Option<Backend>, attempt: &Result<T, nft::Error>) -> bool {
    backend.is_none() && attempt.as_ref().is_err_and(nft::Error::is_unsupported)
}

/// A socket into a kernel that has nf_tables: one without gives the socket, too, and refuses every question.
fn open() -> Result<Nft, nft::Error> {
    let mut nft = Nft::open()?;
    nft.generation().map(|_| nft)
}

fn failed(error: impl std::fmt::Display) -> Error {
    Error::new(ErrorCode::INTERNAL, format!("ipMasq: {error}"))
}
