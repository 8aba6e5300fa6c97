//! nf_tables' and iptables' errors as CNI errors.

use cni::{Error, ErrorCode};

/// Code of a host port that another attachment has (100 and up are a plugin's own).
pub const HELD: ErrorCode = ErrorCode(110);

/// An error of nf_tables.
pub fn kernel(error: nft::Error) -> Error {
    let code = match error {
        nft::Error::Busy(_) | nft::Error::Changed(_) => ErrorCode::TRY_AGAIN_LATER,
        _ => ErrorCode::INTERNAL,
    };
    Error::new(code, format!("host ports: {error}"))
}

/// An error of iptables.
pub fn program(error: iptables::Error) -> Error {
    Error::new(ErrorCode::INTERNAL, format!("host ports: {error}"))
}

/// A host port that another has: `wanted` and `owner` as people read them.
pub fn held(network: &str, wanted: &str, owner: &str, what: &str) -> Error {
    let owner = match pod::Owner::from_alias(owner) {
        Some(owner) => format!("{} of network {:?}", owner.attachment, owner.network),
        None => owner.to_owned(),
    };
    let msg = format!(
        "network {network:?}: runtimeConfig.portMappings: hostPort {wanted} is already held by {owner} ({what})"
    );
    Error::new(HELD, msg).with_details(
        "no two containers can have one port; choose another hostPort or hostIP, or delete that container (if it is gone, its DEL or GC)",
    )
}
