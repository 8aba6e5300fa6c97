//! Kernel's, iptables' and firewalld's errors as CNI errors.

use std::fmt::Display;

use cni::{Error, ErrorCode};

/// Turns an error into one that says what was being done, and for whom.
pub trait Explain<T> {
    /// `doing` is put before the error.
    ///
    /// # Errors
    /// The converted error, if there is one.
    fn explain(self, doing: impl Display) -> Result<T, Error>;
}

impl<T> Explain<T> for Result<T, nft::Error> {
    fn explain(self, doing: impl Display) -> Result<T, Error> {
        self.map_err(|e| {
            let code = match e {
                nft::Error::Busy(_) | nft::Error::Changed(_) => ErrorCode::TRY_AGAIN_LATER,
                _ => ErrorCode::INTERNAL,
            };
            Error::new(code, format!("{doing}: {e}"))
        })
    }
}

impl<T> Explain<T> for Result<T, iptables::Error> {
    fn explain(self, doing: impl Display) -> Result<T, Error> {
        self.map_err(|e| Error::new(ErrorCode::INTERNAL, format!("{doing}: {e}")))
    }
}

impl<T> Explain<T> for Result<T, crate::firewalld::Error> {
    fn explain(self, doing: impl Display) -> Result<T, Error> {
        self.map_err(|e| Error::new(ErrorCode::INTERNAL, format!("{doing}: {e}")))
    }
}

impl<T> Explain<T> for Result<T, netlink::Error> {
    fn explain(self, doing: impl Display) -> Result<T, Error> {
        pod::Explain::explain(self, doing)
    }
}
