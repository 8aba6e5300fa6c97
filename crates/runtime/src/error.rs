//! What can go wrong between a runtime and its plugins, told with network, file, plugin and attachment.

use std::path::{Path, PathBuf};

use cni::{Attachment, SpecVersion, Verb};

/// An error of this crate. `network` fields hold the network's name and, where it came from a file, the file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The directory for network configurations does not exist.
    #[error("no net configurations found: there is no directory {}", dir.display())]
    NoDirectory {
        /// The directory that was asked for.
        dir: PathBuf,
    },
    /// The directory has no network configuration at all.
    #[error("no net configurations found in {}: it has no *.conflist, *.conf or *.json file", dir.display())]
    NoConfigs {
        /// The directory that was asked for.
        dir: PathBuf,
    },
    /// The directory has network configurations, but none of this name.
    #[error("no net configuration with name {name:?} in {}; it has {}", dir.display(), found.join(", "))]
    NotFound {
        /// The directory that was asked for.
        dir: PathBuf,
        /// The network that was asked for.
        name: String,
        /// The networks that are there, each with its file.
        found: Vec<String>,
    },
    /// A configuration file or directory cannot be read.
    #[error("{} cannot be read: {source}", path.display())]
    Read {
        /// The file or directory.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A network or plugin configuration breaks a rule of the specification.
    #[error("{origin}: error parsing the network configuration: {reason}")]
    InvalidList {
        /// The file, or what stands for it.
        origin: String,
        /// The key, what was found and what was expected.
        reason: String,
    },
    /// A container ID, interface name or network name breaks libcni's rules. Nothing was run.
    #[error("{what} {value:?} {rule}")]
    InvalidName {
        /// What kind of name it is.
        what: &'static str,
        /// The name.
        value: String,
        /// The rule that it breaks, as a phrase.
        rule: &'static str,
    },
    /// CHECK exists from 0.4.0 on.
    #[error("{network}: configuration version {version:?} does not support the CHECK command, which came with 0.4.0")]
    CheckUnsupported {
        /// The network.
        network: String,
        /// Its version.
        version: SpecVersion,
    },
    /// CHECK compares with the result of ADD, and there is none.
    #[error("{network}: {attachment}: no cached result in {}; was it added by this runtime?", path.display())]
    NoCachedResult {
        /// The network.
        network: String,
        /// The attachment that was to be checked.
        attachment: Attachment,
        /// Where the result would be.
        path: PathBuf,
    },
    /// The cache cannot be read or written.
    #[error("cached result {}: cannot be {doing}: {source}", path.display())]
    Cache {
        /// The file or directory.
        path: PathBuf,
        /// `read`, `written` or `removed`.
        doing: &'static str,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A cached result does not make sense. DEL does without it.
    #[error("cached result {}: {reason}", path.display())]
    DamagedCache {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The file where a result would be cached holds another attachment's, as `a-b`+`c` and `a`+`b-c` share a file.
    #[error("cached result {} belongs to network {network:?}, {attachment}", path.display())]
    CacheTaken {
        /// The file.
        path: PathBuf,
        /// The network it belongs to.
        network: String,
        /// The attachment it belongs to.
        attachment: Attachment,
    },
    /// A plugin of the chain failed, or could not be run.
    #[error("{network}: plugin {index} of {count} ({plugin}) failed {}: {error}", verb.as_str())]
    Plugin {
        /// The network.
        network: String,
        /// Its place in the chain, from 1.
        index: usize,
        /// The chain's length.
        count: usize,
        /// Its type.
        plugin: String,
        /// What it was asked to do.
        verb: Verb,
        /// Its own error, or why there is none.
        error: Box<cni::Error>,
    },
    /// A plugin did not say which versions it speaks.
    #[error("plugin {plugin} failed VERSION: {error}")]
    PluginVersion {
        /// Its type.
        plugin: String,
        /// Its own error, or why there is none.
        error: Box<cni::Error>,
    },
    /// GC failed to remove an attachment that is not valid.
    #[error("failed to delete stale attachment: {attachment}: {error}")]
    StaleAttachment {
        /// The attachment.
        attachment: Attachment,
        /// What its DEL said.
        error: Box<Error>,
    },
    /// Everything that went wrong in a GC, after the rest was done; one a line.
    #[error("{}", lines(.0))]
    Several(Vec<Error>),
}

impl Error {
    /// The plugin's error, with its code, where it was a plugin that failed.
    pub fn plugin_error(&self) -> Option<&cni::Error> {
        match self {
            Error::Plugin { error, .. } | Error::PluginVersion { error, .. } => Some(error),
            Error::StaleAttachment { error, .. } => error.plugin_error(),
            _ => None,
        }
    }

    pub(crate) fn read(path: &Path, source: std::io::Error) -> Error {
        Error::Read { path: path.to_owned(), source }
    }

    pub(crate) fn cache(path: &Path, doing: &'static str, source: std::io::Error) -> Error {
        Error::Cache { path: path.to_owned(), doing, source }
    }

    pub(crate) fn damaged(path: &Path, reason: impl Into<String>) -> Error {
        Error::DamagedCache { path: path.to_owned(), reason: reason.into() }
    }
}

fn lines(errors: &[Error]) -> String {
    errors.iter().map(Error::to_string).collect::<Vec<_>>().join("\n")
}
