//! What can keep the whole from being seen.

use std::io;
use std::path::PathBuf;

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
    /// A network's addresses cannot be locked.
    #[error(transparent)]
    Lock(#[from] ipam::Error),
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
