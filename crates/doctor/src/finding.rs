//! What was found: for people as text, for programs as JSON.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// A pod will not get its network.
    Error,
    /// It will, but probably not as it was meant.
    Warning,
    /// Good to know.
    Note,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "note",
        })
    }
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// The config it is about.
    pub file: PathBuf,
    /// Which of its plugins, counted from 0; absent where it is about the whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plugin: Option<usize>,
    /// That plugin's type.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The key, as a path from the plugin's config, or from the list's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// What was found.
    pub what: String,
    /// What to do; absent where the first part says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

impl Finding {
    /// A finding about a whole file.
    pub(crate) fn about(severity: Severity, file: &Path, what: impl Into<String>) -> Finding {
        Finding {
            severity,
            file: file.to_owned(),
            plugin: None,
            kind: None,
            key: None,
            what: what.into(),
            advice: None,
        }
    }

    pub(crate) fn key(mut self, key: impl Into<String>) -> Finding {
        self.key = Some(key.into());
        self
    }

    pub(crate) fn advice(mut self, advice: impl Into<String>) -> Finding {
        self.advice = Some(advice.into());
        self
    }

    /// Whether a pod will not get its network for it.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

/// For people: by file, in the order of the plugins, the worst first.
pub fn text(findings: &[Finding]) -> String {
    let mut sorted: Vec<_> = findings.iter().collect();
    sorted.sort_by_key(|finding| (&finding.file, finding.severity, finding.plugin));
    let mut text = String::new();
    let mut file = None;
    for finding in sorted {
        if file != Some(&finding.file) {
            text += &format!("{}\n", finding.file.display());
            file = Some(&finding.file);
        }
        let plugin = finding.plugin.zip(finding.kind.as_ref()).map(|(at, kind)| format!("plugins[{at}] {kind}"));
        let place: Vec<_> = plugin.into_iter().chain(finding.key.clone()).collect();
        let place = if place.is_empty() { String::new() } else { format!("{}: ", place.join(", ")) };
        text += &format!("  {:<8} {place}{}\n", finding.severity, finding.what);
        if let Some(advice) = &finding.advice {
            text += &format!("           -> {advice}\n");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_read_the_worst_first_with_its_place() {
        let mut error = Finding::about(Severity::Error, Path::new("/b"), "is wrong").key("mtu").advice("correct it");
        (error.plugin, error.kind) = (Some(1), Some("bridge".to_owned()));
        let note = |file: &str| Finding::about(Severity::Note, Path::new(file), "is so");
        assert_eq!(
            text(&[note("/b"), error, note("/a")]),
            "/a\n  note     is so\n/b\n  error    plugins[1] bridge, mtu: is wrong\n           -> correct it\n  note     is so\n"
        );
    }
}
