//! The versions of the specification that podlink speaks.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, ErrorCode};

/// A released version of the CNI specification, ordered by age.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SpecVersion {
    /// 0.1.0: ADD and DEL, results with `ip4` and `ip6`.
    V0_1_0,
    /// 0.2.0: adds VERSION.
    V0_2_0,
    /// 0.3.0: results with `interfaces` and `ips`, chains of plugins.
    V0_3_0,
    /// 0.3.1: 0.3.0 with a corrected text.
    V0_3_1,
    /// 0.4.0: adds CHECK, and `prevResult` on DEL.
    V0_4_0,
    /// 1.0.0: drops `ips[].version`.
    V1_0_0,
    /// 1.1.0: adds GC and STATUS, and more about interfaces and routes.
    V1_1_0,
}

impl SpecVersion {
    /// Every version, oldest first; what VERSION answers as `supportedVersions`.
    pub const ALL: [SpecVersion; 7] = [
        SpecVersion::V0_1_0,
        SpecVersion::V0_2_0,
        SpecVersion::V0_3_0,
        SpecVersion::V0_3_1,
        SpecVersion::V0_4_0,
        SpecVersion::V1_0_0,
        SpecVersion::V1_1_0,
    ];

    /// The newest version.
    pub const LATEST: SpecVersion = SpecVersion::V1_1_0;

    /// The version as it stands in `cniVersion`.
    pub const fn as_str(self) -> &'static str {
        match self {
            SpecVersion::V0_1_0 => "0.1.0",
            SpecVersion::V0_2_0 => "0.2.0",
            SpecVersion::V0_3_0 => "0.3.0",
            SpecVersion::V0_3_1 => "0.3.1",
            SpecVersion::V0_4_0 => "0.4.0",
            SpecVersion::V1_0_0 => "1.0.0",
            SpecVersion::V1_1_0 => "1.1.0",
        }
    }

    /// Whether CHECK exists in this version (0.4.0 and later).
    pub fn has_check(self) -> bool {
        self >= SpecVersion::V0_4_0
    }

    /// Whether GC and STATUS exist in this version (1.1.0 and later).
    pub fn has_gc_and_status(self) -> bool {
        self >= SpecVersion::V1_1_0
    }

    /// All versions in one line, for people.
    pub fn list() -> String {
        Self::ALL.map(SpecVersion::as_str).join(", ")
    }
}

impl fmt::Display for SpecVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for SpecVersion {
    type Err = Error;

    /// Reads a `cniVersion`. An empty one means 0.1.0, which had no such key (libcni's rule).
    fn from_str(text: &str) -> Result<Self, Error> {
        if text.is_empty() {
            return Ok(SpecVersion::V0_1_0);
        }
        Self::ALL.into_iter().find(|version| version.as_str() == text).ok_or_else(|| {
            Error::new(ErrorCode::INCOMPATIBLE_VERSION, "incompatible CNI versions")
                .with_details(format!("config is {text:?}, this plugin supports {}", Self::list()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_version_reads_back_and_they_are_ordered() {
        for version in SpecVersion::ALL {
            assert_eq!(version.as_str().parse::<SpecVersion>().unwrap(), version);
        }
        assert!(SpecVersion::ALL.is_sorted());
        assert_eq!("".parse::<SpecVersion>().unwrap(), SpecVersion::V0_1_0);
    }

    #[test]
    fn an_unknown_version_is_code_1_and_says_what_is_supported() {
        let error = "9.9.9".parse::<SpecVersion>().unwrap_err();
        assert_eq!(error.code, ErrorCode::INCOMPATIBLE_VERSION);
        assert!(error.details.contains("9.9.9") && error.details.contains("1.1.0"), "{error}");
    }

    #[test]
    fn verbs_come_with_their_version() {
        assert!(!SpecVersion::V0_3_1.has_check() && SpecVersion::V0_4_0.has_check());
        assert!(!SpecVersion::V1_0_0.has_gc_and_status() && SpecVersion::V1_1_0.has_gc_and_status());
    }
}
