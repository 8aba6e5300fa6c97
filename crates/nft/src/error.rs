//! What can go wrong between us and nf_tables, in words for whoever is on call.

use std::{fmt, io};

use nix::{errno::Errno, libc};

/// Why a call of this crate failed. When [`Nft::commit`](crate::Nft::commit) fails, nothing of the transaction was done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// What should be created is already there (`EEXIST`): a table, chain or set created exclusively, or an element
    /// whose key is in the map with other data.
    #[error("{0}")]
    Exists(Box<Refusal>),
    /// Something the operation names is not there (`ENOENT`).
    #[error("{refusal}{}", .missing.remark())]
    NotFound {
        /// Which of the names.
        missing: Missing,
        /// The kernel's answer.
        refusal: Box<Refusal>,
    },
    /// The process may not do this (`EPERM`).
    #[error("{0}: the process needs CAP_NET_ADMIN over its network namespace; is it run as root?")]
    Denied(Box<Refusal>),
    /// The kernel has no nf_tables, not this family, or not this feature.
    #[error(
        "cannot {operation}: this kernel cannot do that with nf_tables ({detail}); load the nf_tables modules, or use the iptables backend"
    )]
    Unsupported {
        /// What was tried.
        operation: String,
        /// What the kernel said.
        detail: String,
    },
    /// The object is still referred to (`EBUSY`), or the rules changed all the time while they were read.
    #[error("{0}")]
    Busy(Box<Refusal>),
    /// The rules have changed since the generation that [`Transaction::if_generation`](crate::Transaction::if_generation) named.
    #[error("the nf_tables rules were changed by someone else meanwhile: {0}")]
    Changed(Box<Refusal>),
    /// The kernel refused for another reason.
    #[error("{0}")]
    Kernel(Box<Refusal>),
    /// What was to be sent can be no nf_tables object; nothing was sent.
    #[error("cannot {operation}: {reason}")]
    Invalid {
        /// What was to be done.
        operation: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The socket could not be used.
    #[error("cannot {operation}: {source}")]
    Io {
        /// What was tried.
        operation: String,
        /// The system's reason.
        source: io::Error,
    },
}

impl Error {
    /// Whether the object to create already exists.
    pub fn is_exists(&self) -> bool {
        matches!(self, Error::Exists(_))
    }

    /// Whether anything the operation names is missing.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Error::NotFound { .. })
    }

    /// Whether the kernel lacks nf_tables or the feature.
    pub fn is_unsupported(&self) -> bool {
        matches!(self, Error::Unsupported { .. })
    }

    /// Which object is missing, if one is.
    pub fn missing(&self) -> Option<Missing> {
        match self {
            Error::NotFound { missing, .. } => Some(*missing),
            _ => None,
        }
    }

    pub(crate) fn io(operation: impl Into<String>, source: io::Error) -> Error {
        Error::Io { operation: operation.into(), source }
    }

    /// Sorts a refusal into the variant that callers match on.
    pub(crate) fn refused(refusal: Refusal, missing: Missing) -> Error {
        let refusal = Box::new(refusal);
        match refusal.errno {
            libc::EEXIST => Error::Exists(refusal),
            libc::ENOENT => Error::NotFound { missing, refusal },
            libc::EPERM | libc::EACCES => Error::Denied(refusal),
            libc::EBUSY | libc::EINTR | libc::EAGAIN => Error::Busy(refusal),
            ERESTART => Error::Changed(refusal),
            libc::EOPNOTSUPP | libc::EAFNOSUPPORT | libc::EPROTONOSUPPORT => {
                Error::Unsupported { operation: refusal.operation.clone(), detail: refusal.reason() }
            }
            _ => Error::Kernel(refusal),
        }
    }
}

/// Internal to the kernel but sent to user space by nfnetlink for a stale generation.
pub(crate) const ERESTART: i32 = 85;

/// Which name of an operation led nowhere, as far as the kernel tells (extended acknowledgement, kernel 4.18).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Missing {
    /// The table.
    Table,
    /// The chain the operation is on.
    Chain,
    /// The set or map.
    Set,
    /// An element: it is not in the set, or (when adding) the chain of its verdict is not in the table.
    Element,
    /// The rule, or something one of its expressions names (a set, a chain).
    Rule,
    /// The kernel did not tell.
    Unknown,
}

impl Missing {
    fn remark(self) -> &'static str {
        match self {
            Missing::Table => " (the table is missing)",
            Missing::Chain => " (the chain is missing)",
            Missing::Set => " (the set is missing)",
            Missing::Element => " (the element, or the chain it leads to, is missing)",
            Missing::Rule => " (the rule, or a set or chain it refers to, is missing)",
            Missing::Unknown => "",
        }
    }
}

/// What the kernel answered to an operation it did not carry out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What was asked, as `nft` would write it: `add element inet podlink_masq pods4 { 10.1.2.3 }`.
    pub operation: String,
    /// The position of the operation in the transaction, from 0; `None` for the transaction as a whole and for reads.
    pub index: Option<usize>,
    /// The error number, positive, as in `errno(3)`.
    pub errno: i32,
    /// The kernel's own words (extended acknowledgement), or what was found instead, where there is either.
    pub detail: Option<String>,
}

impl Refusal {
    fn reason(&self) -> String {
        let errno = match self.errno {
            ERESTART => "the rules changed meanwhile",
            errno => Errno::from_raw(errno).desc(),
        };
        match &self.detail {
            Some(detail) => format!("{errno}; {detail}"),
            None => errno.to_owned(),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "nf_tables: cannot {}: {}", self.operation, self.reason())
    }
}
