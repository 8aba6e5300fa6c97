//! Errors of the address store as errors of the specification.

use cni::{Error, ErrorCode};

/// The code says who can help: 7 the author of the config, 11 time, 5 the node's filesystem. What has no code of its own
/// is 999, as in the reference.
pub(crate) fn of_store(error: ipam::Error) -> Error {
    let code = match error {
        ipam::Error::NetworkName { .. }
        | ipam::Error::RequestedOutside { .. }
        | ipam::Error::RequestedTwice { .. }
        | ipam::Error::RequestedRole { .. } => ErrorCode::INVALID_CONFIG,
        ipam::Error::LockTimeout { .. } => ErrorCode::TRY_AGAIN_LATER,
        ipam::Error::Io { .. } | ipam::Error::NotWritable { .. } => ErrorCode::IO,
        ipam::Error::Duplicate { .. } | ipam::Error::RequestedTaken { .. } | ipam::Error::Full { .. } => {
            ErrorCode::INTERNAL
        }
    };
    Error::new(code, error.to_string())
}

/// All failures of a GC in one error.
pub(crate) fn several(failures: Vec<ipam::Error>, network: &str) -> Result<(), Error> {
    if failures.is_empty() {
        return Ok(());
    }
    let all: Vec<_> = failures.iter().map(ToString::to_string).collect();
    let msg = format!("GC of network {network:?}: {} reservations could not be released", failures.len());
    Err(Error::new(ErrorCode::IO, msg).with_details(all.join("; ")))
}
