//! Errors as the specification prints them: a code, a message, and details.

use serde::{Deserialize, Serialize};

use crate::version::SpecVersion;

/// An error code of the specification ("Error" section), or a plugin's own (100 and up).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ErrorCode(pub u32);

impl ErrorCode {
    /// The config's `cniVersion` is not supported, or does not have this verb.
    pub const INCOMPATIBLE_VERSION: ErrorCode = ErrorCode(1);
    /// A field of the config is not supported; the message names its key and value.
    pub const UNSUPPORTED_FIELD: ErrorCode = ErrorCode(2);
    /// The container is unknown or gone; the runtime need not call DEL.
    pub const UNKNOWN_CONTAINER: ErrorCode = ErrorCode(3);
    /// A `CNI_*` variable is missing or invalid; the message names it.
    pub const INVALID_ENVIRONMENT: ErrorCode = ErrorCode(4);
    /// Input or output failed: reading the config from stdin, a file, the kernel.
    pub const IO: ErrorCode = ErrorCode(5);
    /// Content could not be decoded: the config is no JSON, a result is garbage.
    pub const DECODE: ErrorCode = ErrorCode(6);
    /// The config was read but breaks a rule; the message names the key.
    pub const INVALID_CONFIG: ErrorCode = ErrorCode(7);
    /// `CNI_NETNS` is the plugin's own namespace (libcni's code).
    pub const INVALID_NETNS: ErrorCode = ErrorCode(8);
    /// Something that will pass: the runtime should try again later.
    pub const TRY_AGAIN_LATER: ErrorCode = ErrorCode(11);
    /// STATUS: the plugin cannot serve ADD.
    pub const NOT_AVAILABLE: ErrorCode = ErrorCode(50);
    /// STATUS: the plugin cannot serve ADD, and pods already there have limited connectivity.
    pub const LIMITED_CONNECTIVITY: ErrorCode = ErrorCode(51);
    /// Anything else (libcni's `ErrInternal`).
    pub const INTERNAL: ErrorCode = ErrorCode(999);
}

/// An error for the runtime: printed as JSON on stdout, with exit status 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{msg}{}{details}", if .details.is_empty() { "" } else { "; " })]
pub struct Error {
    /// What kind of failure it was.
    pub code: ErrorCode,
    /// What failed, on what, and why: one line that stands alone in a log.
    pub msg: String,
    /// What was found and expected, and what to do; may be empty.
    pub details: String,
}

impl Error {
    /// An error without details.
    pub fn new(code: ErrorCode, msg: impl Into<String>) -> Error {
        Error { code, msg: msg.into(), details: String::new() }
    }

    /// The same error with details.
    pub fn with_details(mut self, details: impl Into<String>) -> Error {
        self.details = details.into();
        self
    }

    /// The same error with what was being done put before its message.
    pub fn context(mut self, doing: impl std::fmt::Display) -> Error {
        self.msg = format!("{doing}: {}", self.msg);
        self
    }

    /// The same error as the answer to STATUS: code 50, unless it says 50 or 51 already.
    pub fn unavailable(self) -> Error {
        match self.code {
            ErrorCode::NOT_AVAILABLE | ErrorCode::LIMITED_CONNECTIVITY => self,
            _ => Error { code: ErrorCode::NOT_AVAILABLE, ..self },
        }
    }

    /// The JSON of the specification's "Error" section, one trailing newline.
    pub fn to_json(&self, version: SpecVersion) -> String {
        let wire = WireError {
            cni_version: Some(version.as_str().to_owned()),
            code: self.code,
            msg: self.msg.clone(),
            details: self.details.clone(),
        };
        crate::json::pretty(&wire)
    }

    /// Reads the error a delegated or chained plugin printed; `None` if the text is not one.
    pub fn from_json(text: &[u8]) -> Option<Error> {
        let wire: WireError = serde_json::from_slice(text).ok()?;
        Some(Error { code: wire.code, msg: wire.msg, details: wire.details })
    }
}

#[derive(Serialize, Deserialize)]
struct WireError {
    #[serde(rename = "cniVersion", default, skip_serializing_if = "Option::is_none")]
    cni_version: Option<String>,
    code: ErrorCode,
    msg: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    details: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_reads_back_from_its_json() {
        let error = Error::new(ErrorCode::IO, "reading x").with_details("disk").context("network \"n\"");
        let json = error.to_json(SpecVersion::V0_4_0);
        assert!(json.contains(r#""cniVersion": "0.4.0""#) && json.contains(r#""code": 5"#), "{json}");
        assert_eq!(Error::from_json(json.as_bytes()), Some(error));
        assert_eq!(Error::from_json(b"{}"), None);
    }
}
