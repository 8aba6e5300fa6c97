//! Finding a network by its name in a directory, as libcni does.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::error::Error;
use crate::network::{Draft, NetworkList, parse_json, wrap};
use crate::plugin_conf::PluginConf;

impl NetworkList {
    /// Finds network `name` in `dir`: the first `*.conflist` of that name in lexical order, else the first `*.conf` or
    /// `*.json`, which holds a single plugin and is wrapped as a list.
    ///
    /// A file that is no JSON stops the search, because it might be the one that is meant. Unlike libcni, a mistake in
    /// another network's keys does not.
    ///
    /// # Errors
    /// [`Error::NoDirectory`], [`Error::NoConfigs`] and [`Error::NotFound`] tell apart why there is none;
    /// [`Error::Read`], [`Error::InvalidList`] and [`Error::InvalidName`] name the file or the key.
    pub fn load(dir: &Path, name: &str) -> Result<NetworkList, Error> {
        let files = files(dir)?.ok_or_else(|| Error::NoDirectory { dir: dir.to_owned() })?;
        let mut found = Vec::new();
        for (suffixes, is_list) in [(&[".conflist"][..], true), (&[".conf", ".json"], false)] {
            for path in files.iter().filter(|path| has_suffix(path, suffixes)) {
                let Some((bytes, value)) = read_listed(path)? else { continue };
                let its_name = value.get("name").and_then(Value::as_str).unwrap_or_default();
                if its_name != name {
                    found.push(format!("{its_name:?} ({})", path.display()));
                    continue;
                }
                return if is_list { from_list(path, bytes, value) } else { from_single(path, value) };
            }
        }
        Err(if found.is_empty() {
            Error::NoConfigs { dir: dir.to_owned() }
        } else {
            Error::NotFound { dir: dir.to_owned(), name: name.to_owned(), found }
        })
    }

    /// Reads the conflist at `path`, with the plugins of `<its directory>/<network>/*.conf` after its own unless
    /// `loadOnlyInlinedPlugins` is set.
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::InvalidList`] and [`Error::InvalidName`].
    pub fn from_file(path: &Path) -> Result<NetworkList, Error> {
        let (bytes, value) = read(path)?;
        from_list(path, bytes, value)
    }
}

fn from_list(path: &Path, bytes: Vec<u8>, value: Value) -> Result<NetworkList, Error> {
    let name = value.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
    let draft = Draft::read(path.display().to_string(), value)?;
    // The name has been checked: it is one plain path component.
    let more = if draft.wants_more() { plugins_of(&path.with_file_name(name))? } else { Vec::new() };
    draft.finish(more, bytes, Some(path.to_owned()))
}

fn from_single(path: &Path, value: Value) -> Result<NetworkList, Error> {
    let origin = path.display().to_string();
    if value.get("type").is_none() && value.get("plugins").is_some() {
        let reason = "it holds a list of plugins, so its name must end in .conflist".to_owned();
        return Err(Error::InvalidList { origin, reason });
    }
    let list = wrap(value);
    let bytes = list.to_string().into_bytes();
    Draft::read(origin, list)?.finish(Vec::new(), bytes, Some(path.to_owned()))
}

/// The plugins of a network's own directory, in lexical order; none if it does not exist.
fn plugins_of(dir: &Path) -> Result<Vec<PluginConf>, Error> {
    let files = files(dir)?.unwrap_or_default();
    let confs = files.iter().filter(|path| has_suffix(path, &[".conf"]));
    let read = |path: &PathBuf| {
        let Some((_, value)) = read_listed(path)? else { return Ok(None) };
        let invalid = |reason| Error::InvalidList { origin: path.display().to_string(), reason };
        PluginConf::from_value(value).map_err(invalid).map(Some)
    };
    confs.filter_map(|path| read(path).transpose()).collect()
}

/// As [`read`]; `None` where the file was removed since the directory was listed, as when it is replaced.
fn read_listed(path: &Path) -> Result<Option<(Vec<u8>, Value)>, Error> {
    match read(path) {
        Err(_) if is_gone(path) => Ok(None),
        other => other.map(Some),
    }
}

/// Whether there is nothing of that name, not even a link that leads nowhere.
fn is_gone(path: &Path) -> bool {
    matches!(path.symlink_metadata(), Err(e) if e.kind() == ErrorKind::NotFound)
}

fn read(path: &Path) -> Result<(Vec<u8>, Value), Error> {
    let bytes = std::fs::read(path).map_err(|e| Error::read(path, e))?;
    let value = parse_json(&path.display().to_string(), &bytes)?;
    Ok((bytes, value))
}

/// The files of `dir` in lexical order, without directories; `None` if there is no such directory.
fn files(dir: &Path) -> Result<Option<Vec<PathBuf>>, Error> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(Error::read(dir, e)),
    };
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|e| Error::read(dir, e))?;
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => {}
            Ok(_) => files.push(entry.path()),
            Err(_) if is_gone(&entry.path()) => {}
            Err(e) => return Err(Error::read(&entry.path(), e)),
        }
    }
    files.sort();
    Ok(Some(files))
}

fn has_suffix(path: &Path, suffixes: &[&str]) -> bool {
    let name = path.file_name().map(|name| name.as_encoded_bytes()).unwrap_or_default();
    suffixes.iter().any(|suffix| name.ends_with(suffix.as_bytes()))
}

#[cfg(test)]
mod tests;
