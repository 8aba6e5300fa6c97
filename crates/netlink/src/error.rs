//! What can go wrong between us and the kernel, in words for whoever is on call.

use std::{fmt, io, net::IpAddr, path::PathBuf, time::Duration};

use netlink_packet_core::{NLM_F_ACK_TLVS, NLM_F_CAPPED, NlasIterator};
use nix::{errno::Errno, libc};

/// Why a call of this crate failed.
///
/// The variants are those a caller decides by; everything else the kernel refuses is [`Error::Kernel`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// What should be created is already there (`EEXIST`).
    #[error("cannot {}: it already exists{}", .0.operation, .0.remark())]
    Exists(Refusal),
    /// The name asked for the far end of a veth pair is taken in its namespace (`EEXIST`).
    #[error("cannot {}: the far end's name is taken in its namespace{}", .0.operation, .0.remark())]
    PeerExists(Refusal),
    /// What should be read or changed is not there (`ENODEV`, `ENOENT`, `ESRCH`, `EADDRNOTAVAIL`).
    #[error("{0}")]
    NotFound(Refusal),
    /// The process may not do this (`EPERM`).
    #[error(
        "{0}: the process needs CAP_NET_ADMIN (and CAP_SYS_ADMIN to enter a namespace) over it; is it run as root?"
    )]
    Denied(Refusal),
    /// The object is in use, or changed all the time while it was read (`EBUSY`, `NLM_F_DUMP_INTR`).
    #[error("{0}")]
    Busy(Refusal),
    /// The kernel refused for another reason.
    #[error("{0}")]
    Kernel(Refusal),
    /// There is no file at the namespace's path: the namespace, or the process it belonged to, is gone.
    #[error("network namespace {} is gone (no such file)", path.display())]
    NamespaceGone {
        /// The path that was asked for.
        path: PathBuf,
    },
    /// The path leads to something that is not a network namespace: for example the plain file that a bind mount
    /// of a namespace leaves behind.
    #[error("{} is not a network namespace: {found}", path.display())]
    NotANamespace {
        /// The path that was asked for.
        path: PathBuf,
        /// What is there instead.
        found: String,
    },
    /// The kernel did not do in time what was waited for.
    #[error("waited {:.1} s for {awaited}; last seen: {last}", waited.as_secs_f64())]
    Timeout {
        /// What was awaited, of which object.
        awaited: String,
        /// For how long.
        waited: Duration,
        /// The last state seen.
        last: String,
    },
    /// Duplicate address detection found another owner of the address (`IFA_F_DADFAILED`, RFC 4862 section 5.4.5).
    #[error(
        "address {address} on interface #{index} is already in use by another host on the link (duplicate address detection failed)"
    )]
    AddressConflict {
        /// The address that another host answers for.
        address: IpAddr,
        /// The interface it was set on.
        index: u32,
    },
    /// A name that no interface can have was passed in.
    #[error("{name:?} cannot name an interface: {reason}")]
    InvalidName {
        /// The name as passed in.
        name: String,
        /// The rule it breaks.
        reason: &'static str,
    },
    /// A file, socket or thread could not be used.
    #[error("cannot {operation}: {source}")]
    Io {
        /// What was tried, with the path where there is one.
        operation: String,
        /// The system's reason.
        source: io::Error,
    },
}

impl Error {
    /// Whether the object to create already exists. Not true for [`Error::PeerExists`].
    pub fn is_exists(&self) -> bool {
        matches!(self, Error::Exists(_))
    }

    /// Whether the object to read or change does not exist.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Error::NotFound(_))
    }

    /// Whether a namespace is gone altogether (a path that is something else does not count).
    pub fn is_namespace_gone(&self) -> bool {
        matches!(self, Error::NamespaceGone { .. })
    }

    pub(crate) fn io(operation: impl Into<String>, source: io::Error) -> Error {
        Error::Io { operation: operation.into(), source }
    }

    /// Adds what a bare error number means for this request.
    pub(crate) fn hint(self, errno: i32, hint: &str) -> Error {
        match self {
            Error::Kernel(refusal) if refusal.errno == errno => Error::Kernel(refusal.explained(hint)),
            Error::Busy(refusal) if refusal.errno == errno => Error::Busy(refusal.explained(hint)),
            error => error,
        }
    }

    /// Sorts a refusal into the variant that callers match on.
    pub(crate) fn refused(refusal: Refusal) -> Error {
        match refusal.errno {
            libc::EEXIST => Error::Exists(refusal),
            libc::ENODEV | libc::ENOENT | libc::ESRCH | libc::EADDRNOTAVAIL => Error::NotFound(refusal),
            libc::EPERM => Error::Denied(refusal),
            libc::EBUSY => Error::Busy(refusal),
            _ => Error::Kernel(refusal),
        }
    }
}

/// What the kernel answered to a request it did not carry out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What was asked, with the objects' names: "create bridge cni0".
    pub operation: String,
    /// The error number, positive, as in `errno(3)`.
    pub errno: i32,
    /// The kernel's own words (extended acknowledgement), or our reading of the number.
    pub detail: Option<String>,
}

impl Refusal {
    /// Reads an acknowledgement: `flags` are those of its own header, `payload` is what follows the code in
    /// `struct nlmsgerr`.
    pub(crate) fn from_ack(operation: &dyn fmt::Display, flags: u16, code: i32, payload: &[u8]) -> Refusal {
        Refusal { operation: operation.to_string(), errno: code.saturating_neg(), detail: ack_text(flags, payload) }
    }

    /// Reads the end of a dump, which carries attributes only.
    pub(crate) fn from_done(operation: &dyn fmt::Display, code: i32, attributes: &[u8]) -> Refusal {
        Refusal {
            operation: operation.to_string(),
            errno: code.saturating_neg(),
            detail: message_attribute(attributes),
        }
    }

    /// The detail in brackets, or nothing.
    fn remark(&self) -> String {
        self.detail.as_ref().map(|detail| format!(" ({detail})")).unwrap_or_default()
    }

    /// Adds what we know where the kernel says nothing.
    pub(crate) fn explained(mut self, detail: impl Into<String>) -> Refusal {
        self.detail.get_or_insert_with(|| detail.into());
        self
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {}: {}{}", self.operation, Errno::from_raw(self.errno).desc(), self.remark())
    }
}

/// `NLMSGERR_ATTR_MSG` of linux/netlink.h.
const NLMSGERR_ATTR_MSG: u16 = 1;
const NLMSG_HEADER: usize = 16;

/// The kernel's message out of an `nlmsgerr`: the header of the request, its body unless capped, then attributes.
fn ack_text(flags: u16, payload: &[u8]) -> Option<String> {
    if flags & NLM_F_ACK_TLVS == 0 {
        return None;
    }
    let length = u32::from_ne_bytes(payload.get(..4)?.try_into().ok()?);
    let skip = if flags & NLM_F_CAPPED != 0 { NLMSG_HEADER } else { usize::try_from(length).ok()?.next_multiple_of(4) };
    message_attribute(payload.get(skip..)?)
}

fn message_attribute(attributes: &[u8]) -> Option<String> {
    NlasIterator::new(attributes).map_while(Result::ok).find(|nla| nla.kind() == NLMSGERR_ATTR_MSG).map(|nla| {
        let text = nla.value().split(|byte| *byte == 0).next().unwrap_or_default();
        format!("kernel: {}", String::from_utf8_lossy(text))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `nlmsgerr` after the code: a request of 20 bytes, then NLMSGERR_ATTR_OFFS and NLMSGERR_ATTR_MSG.
    fn payload(capped: bool) -> Vec<u8> {
        let mut bytes = vec![0; 16];
        bytes[..4].copy_from_slice(&20_u32.to_ne_bytes());
        if !capped {
            bytes.extend([0xaa; 4]);
        }
        bytes.extend([8, 0, 2, 0, 1, 0, 0, 0]);
        bytes.extend([9, 0, 1, 0]);
        bytes.extend(b"nope\0\0\0\0");
        bytes
    }

    #[test]
    fn the_kernels_words_are_found_with_and_without_the_request() {
        for capped in [false, true] {
            let flags = NLM_F_ACK_TLVS | if capped { NLM_F_CAPPED } else { 0 };
            let refusal = Refusal::from_ack(&"create bridge cni0", flags, -libc::EINVAL, &payload(capped));
            assert_eq!(refusal.to_string(), "cannot create bridge cni0: Invalid argument (kernel: nope)");
        }
    }

    #[test]
    fn a_short_or_silent_answer_still_makes_an_error() {
        for (flags, bytes) in [(0, payload(true)), (NLM_F_ACK_TLVS, vec![1, 2]), (NLM_F_ACK_TLVS, vec![0xff; 16])] {
            let refusal = Refusal::from_ack(&"x", flags, -libc::EPERM, &bytes);
            assert_eq!(refusal.detail, None);
            assert!(matches!(Error::refused(refusal), Error::Denied(_)));
        }
    }
}
