//! The kernel's errors as CNI errors.

use std::fmt::Display;

use cni::{Error, ErrorCode};

/// Turns a kernel error into a CNI error that says what was being done, and for which pod.
pub trait Explain<T> {
    /// `doing` is put before the error: `bridge "cni0"`, `container c1 interface eth0`.
    ///
    /// # Errors
    /// The converted error, if there is one.
    fn explain(self, doing: impl Display) -> Result<T, Error>;
}

impl<T> Explain<T> for Result<T, netlink::Error> {
    fn explain(self, doing: impl Display) -> Result<T, Error> {
        self.map_err(|e| {
            let code = match e {
                netlink::Error::NamespaceGone { .. } | netlink::Error::NotANamespace { .. } => ErrorCode::INVALID_NETNS,
                netlink::Error::InvalidName { .. } => ErrorCode::INVALID_CONFIG,
                netlink::Error::Busy(_) | netlink::Error::Timeout { .. } => ErrorCode::TRY_AGAIN_LATER,
                _ => ErrorCode::INTERNAL,
            };
            Error::new(code, format!("{doing}: {e}"))
        })
    }
}

/// What CHECK says when something is not as ADD left it.
pub fn drift(what: impl Display, expected: impl Display, found: impl Display) -> Error {
    Error::new(ErrorCode::INTERNAL, format!("{what} has changed: expected {expected}, found {found}"))
        .with_details("something other than podlink changed it; to repair, delete the pod and let it be created again")
}
