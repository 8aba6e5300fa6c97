//! What can go wrong, as data for the caller to map, and as text for whoever is on call.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::attachment::{Attachment, Holder};
use crate::range::Role;
use crate::range_set::RangeSet;
use crate::store::Usage;

/// Why an operation on a [`Store`](crate::Store) failed. Nothing has changed on disk unless a variant says otherwise.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The network's name cannot be the name of its directory.
    #[error(
        "network name {network:?} cannot name a directory of addresses: it must start with a letter or digit and \
         contain no `/`"
    )]
    NetworkName {
        /// The name found.
        network: String,
    },

    /// The attachment has an address of this set already (the specification allows no second ADD without a DEL).
    #[error(
        "{address} has been allocated to {attachment} of network {network} already ({}), duplicate allocation is not \
         allowed: run DEL for it first", file.display()
    )]
    Duplicate {
        /// The network.
        network: String,
        /// Who asked, and holds it.
        attachment: Attachment,
        /// The address held.
        address: IpAddr,
        /// Its address file.
        file: PathBuf,
    },

    /// Addresses were asked for that no range set can give.
    #[error(
        "failed to allocate all requested IPs of network {network}: {} in no range set of the network ({})",
        are(addresses),
        all(sets)
    )]
    RequestedOutside {
        /// The network.
        network: String,
        /// The addresses that fit nowhere.
        addresses: Vec<IpAddr>,
        /// What there is.
        sets: Vec<RangeSet>,
    },

    /// Two addresses were asked for of one set.
    #[error(
        "failed to allocate all requested IPs of network {network}: {first} and {second} are both in range set {set} \
         ({ranges}), which gives an attachment one address: ask for one of them"
    )]
    RequestedTwice {
        /// The network.
        network: String,
        /// One address.
        first: IpAddr,
        /// The other.
        second: IpAddr,
        /// Number of the set, from 0.
        set: usize,
        /// Its ranges.
        ranges: RangeSet,
    },

    /// An address was asked for that is never given out.
    #[error("requested IP {address} of network {network} is the {role} of its subnet: ask for another one")]
    RequestedRole {
        /// The network.
        network: String,
        /// The address.
        address: IpAddr,
        /// What it is instead.
        role: Role,
    },

    /// An address was asked for that somebody has.
    #[error(
        "requested IP {address} of network {network} is not available: {holder} has it ({}); ask for another one, or \
         run DEL for the holder if it is gone", file.display()
    )]
    RequestedTaken {
        /// The network.
        network: String,
        /// The address.
        address: IpAddr,
        /// Who has it.
        holder: Holder,
        /// Its address file.
        file: PathBuf,
    },

    /// A set has nothing left.
    #[error(
        "no IP addresses available in range set {set} of network {network} ({}): {} of its {} addresses are held, see \
         the files in {}; delete pods, enlarge the range, or run GC if holders are gone",
        usage.ranges, usage.used, usage.capacity, dir.display()
    )]
    Full {
        /// The network.
        network: String,
        /// Number of the set, from 0.
        set: usize,
        /// What it has and what is taken of it.
        usage: Box<Usage>,
        /// Where the address files are.
        dir: PathBuf,
    },

    /// Somebody kept the lock for too long.
    #[error(
        "the lock {} was still held after {:.1} s by {}; if that process hangs, end it and try again",
        file.display(), waited.as_secs_f64(), holder_text(holder)
    )]
    LockTimeout {
        /// The lock file.
        file: PathBuf,
        /// How long we waited.
        waited: Duration,
        /// Who has it, where the kernel tells (`/proc/locks`).
        holder: Option<LockHolder>,
    },

    /// The directory of addresses cannot be written, so no address can be reserved.
    #[error("no address can be reserved in {}: {} is not writable: {reason}", dir.display(), at.display())]
    NotWritable {
        /// The network's directory.
        dir: PathBuf,
        /// It, or its nearest parent that exists.
        at: PathBuf,
        /// What the kernel says about it.
        reason: io::Error,
    },

    /// The kernel refused an operation on a file. Releasing goes on after it, so other files may have been removed.
    #[error("cannot {action} {}: {source}{}", file.display(), advice(source))]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// On which file.
        file: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

impl Error {
    /// For `map_err`: an [`Error::Io`] about this file.
    pub(crate) fn io(action: &'static str, file: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, file: file.to_owned(), source }
    }

    /// Whether the file or directory is simply not there.
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

/// The process that holds a lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockHolder {
    /// Its process ID.
    pub pid: u32,
    /// The name of its program, when it could be read.
    pub command: Option<String>,
}

impl fmt::Display for LockHolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {}", self.pid)?;
        self.command.iter().try_for_each(|command| write!(f, " ({command})"))
    }
}

fn holder_text(holder: &Option<LockHolder>) -> String {
    match holder {
        Some(holder) => holder.to_string(),
        None => "a process that /proc/locks does not show (it may run in another container)".to_owned(),
    }
}

fn advice(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "; free space or inodes on its filesystem",
        io::ErrorKind::ReadOnlyFilesystem => "; mount its filesystem writable or set `dataDir` to another place",
        io::ErrorKind::PermissionDenied => "; check owner, mode and immutable flag, and that the plugin runs as root",
        io::ErrorKind::NotADirectory => "; a file is in the place of a directory: move it away or change `dataDir`",
        _ => "",
    }
}

fn are(addresses: &[IpAddr]) -> String {
    let list: Vec<_> = addresses.iter().map(IpAddr::to_string).collect();
    format!("{} {}", list.join(", "), if list.len() == 1 { "is" } else { "are" })
}

fn all(sets: &[RangeSet]) -> String {
    let list: Vec<_> = sets.iter().map(RangeSet::to_string).collect();
    list.join("; ")
}
