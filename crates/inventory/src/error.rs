//! What can keep the whole from being seen.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Why the inventory cannot be taken, or nothing be removed. What is missing only in part is a note in the
/// [`Survey`](crate::Survey).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The processes cannot be listed.
    #[error("cannot list the processes in {}: {source}; is /proc mounted?", path.display())]
    Proc {
        /// What was read.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The node's interfaces cannot be listed.
    #[error("cannot list the node's interfaces: {0}")]
    Links(netlink::Error),
    /// The lock of a network's addresses cannot be had.
    #[error("cannot lock {}: {source}", file.display())]
    Lock {
        /// The lock file.
        file: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Somebody keeps the lock.
    #[error("{} is still locked after {} s: see who holds it with `fuser -v {}`", file.display(), waited.as_secs(), file.display())]
    LockTimeout {
        /// The lock file.
        file: PathBuf,
        /// How long it was waited for.
        waited: Duration,
    },
    /// There is no such network.
    #[error("there is no network {network:?}: found are {}", list(known))]
    NoNetwork {
        /// What was asked for.
        network: String,
        /// What there is.
        known: Vec<String>,
    },
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}
