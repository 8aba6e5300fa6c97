//! A network config, as a runtime finds and reads it.

mod reader;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use cni::SpecVersion;
use serde_json::{Map, Value};

use crate::finding::{Finding, Severity};

pub(crate) use reader::read;

/// A file, and what is in it.
#[derive(Debug)]
pub struct Document {
    /// Its path.
    pub file: PathBuf,
    /// What is in it, or why it cannot be read.
    pub content: io::Result<Vec<u8>>,
    /// The plugins of the directory beside it that has its network's name (libcni 1.3), in the order of their names.
    pub more: Vec<(PathBuf, io::Result<Vec<u8>>)>,
}

/// Whether a runtime reads a file of this name.
pub fn is_config(file: &Path) -> bool {
    has_suffix(file, &["conflist", "conf", "json"])
}

fn has_suffix(file: &Path, suffixes: &[&str]) -> bool {
    file.extension().is_some_and(|suffix| suffixes.iter().any(|known| suffix == *known))
}

/// The configs of a directory, in the order of their names, which is the runtime's.
///
/// # Errors
/// The directory cannot be read.
pub fn documents(dir: &Path) -> io::Result<Vec<Document>> {
    Ok(files(dir)?.into_iter().filter(|file| is_config(file)).map(Document::read).collect())
}

fn files(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if !path.is_dir() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

impl Document {
    /// Reads a file and, for a list, the plugins of its network's own directory.
    pub fn read(file: PathBuf) -> Document {
        let content = fs::read(&file);
        let value = content.as_ref().ok().and_then(|content| serde_json::from_slice::<Value>(content).ok());
        let name = value.as_ref().and_then(|value| value.get("name")).and_then(Value::as_str);
        let dir = name.filter(|name| cni::validate::is_identifier(name)).map(|name| file.with_file_name(name));
        let is_list = has_suffix(&file, &["conflist"]);
        let more = dir.filter(|_| is_list).and_then(|dir| files(&dir).ok()).unwrap_or_default();
        let more = more.into_iter().filter(|file| has_suffix(file, &["conf"]));
        Document { more: more.map(|file| (file.clone(), fs::read(&file))).collect(), file, content }
    }
}

/// A network, as far as it could be made out.
#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) file: PathBuf,
    pub(crate) name: String,
    /// The version its plugins are called in; `None` where it is not one that we know.
    pub(crate) version: Option<SpecVersion>,
    pub(crate) plugins: Vec<Plugin>,
}

/// One plugin of a network.
#[derive(Debug)]
pub(crate) struct Plugin {
    /// Where its config is: the network's file, or one of the network's own directory.
    pub(crate) file: PathBuf,
    pub(crate) index: usize,
    pub(crate) kind: String,
    /// Its config as it stands in the file.
    pub(crate) config: Map<String, Value>,
}

impl Plugin {
    pub(crate) fn finding(&self, severity: Severity, what: impl Into<String>) -> Finding {
        let finding = Finding::about(severity, &self.file, what);
        Finding { plugin: Some(self.index), kind: Some(self.kind.clone()), ..finding }
    }

    /// The text at a key; empty where it is absent or no text.
    pub(crate) fn text(&self, key: &str) -> &str {
        self.config.get(key).and_then(Value::as_str).unwrap_or_default()
    }

    /// Whether a key is there and true.
    pub(crate) fn is_set(&self, key: &str) -> bool {
        self.config.get(key).and_then(Value::as_bool).unwrap_or_default()
    }

    /// The type of its IPAM plugin, if it has one.
    pub(crate) fn ipam(&self) -> Option<&str> {
        self.config.get("ipam")?.get("type")?.as_str().filter(|kind| !kind.is_empty())
    }

    /// The config as a runtime hands it over.
    pub(crate) fn to_bytes(&self, network: &Network) -> Vec<u8> {
        let mut config = self.config.clone();
        config.insert("name".to_owned(), Value::from(network.name.as_str()));
        config.insert("cniVersion".to_owned(), Value::from(network.version.unwrap_or(SpecVersion::LATEST).as_str()));
        Value::Object(config).to_string().into_bytes()
    }
}

#[cfg(test)]
mod tests;
