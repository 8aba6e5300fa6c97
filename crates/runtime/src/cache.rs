//! Results of ADD, kept for CHECK, DEL and GC in libcni's own place and format, so that either can go on for the other.

use std::fs::{DirBuilder, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use cni::{Attachment, CniResult, SpecVersion};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::Error;
use crate::network::NetworkList;
use crate::run::RuntimeConf;

/// Where libcni keeps results: containerd, CRI-O, podman and the Go cnitool all use it.
pub const DEFAULT_CACHE_DIR: &str = "/var/lib/cni";

/// The `kind` of the format since libcni 0.8; before it, a file held a bare result.
const KIND: &str = "cniCacheV1";

/// An attachment that the cache knows of, with what its ADD was called with.
#[derive(Clone, Debug, PartialEq)]
pub struct CachedAttachment {
    /// The network's name.
    pub network: String,
    /// The attachment, as for its DEL.
    pub conf: RuntimeConf,
    /// The conflist as it was at its ADD; empty where it was not recorded.
    pub config: Vec<u8>,
}

/// libcni's `cachedInfo`, key for key. Go writes null for what is not set in some, so reading takes null everywhere.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Info {
    kind: String,
    container_id: String,
    config: Option<String>,
    if_name: String,
    network_name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    netns: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cni_args: Option<Vec<(String, String)>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    capability_args: Option<Map<String, Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<Value>,
}

/// The directory `<cache dir>/results`.
pub(crate) struct Cache {
    dir: PathBuf,
}

impl Cache {
    pub(crate) fn new(cache_dir: &Path) -> Cache {
        Cache { dir: cache_dir.join("results") }
    }

    /// The file of an attachment. The names have been validated: none has a '/'.
    pub(crate) fn path(&self, network: &str, attachment: &Attachment) -> PathBuf {
        self.dir.join(format!("{network}-{}-{}", attachment.container_id, attachment.ifname))
    }

    /// Keeps what ADD was called with and what came of it. A reader never sees half of it.
    pub(crate) fn write(&self, list: &NetworkList, conf: &RuntimeConf, result: &CniResult) -> Result<(), Error> {
        let path = self.path(list.name(), &conf.attachment());
        let netns = conf.netns.as_deref().map(|path| {
            let text = path.to_str().map(str::to_owned);
            text.ok_or(Error::InvalidName { what: "netns", value: path.display().to_string(), rule: "is not UTF-8" })
        });
        let info = Info {
            kind: KIND.to_owned(),
            container_id: conf.container_id.clone(),
            config: Some(BASE64.encode(list.bytes())),
            if_name: conf.ifname.clone(),
            network_name: list.name().to_owned(),
            netns: netns.transpose()?,
            cni_args: Some(conf.args.clone()).filter(|args| !args.is_empty()),
            capability_args: Some(conf.capability_args.clone()).filter(|args| !args.is_empty()),
            result: Some(result.to_value(list.cni_version())),
        };
        let bytes = serde_json::to_vec(&info).map_err(|e| Error::cache(&path, "written", e.into()))?;
        // No sync: after a power cut no namespace is left that the result could be about.
        self.write_aside(&path, &bytes).map_err(|e| {
            let _ = std::fs::remove_file(aside(&path));
            Error::cache(&path, "written", e)
        })
    }

    fn write_aside(&self, path: &Path, bytes: &[u8]) -> std::io::Result<()> {
        let aside = aside(path);
        let create = || OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&aside);
        let mut file = match create() {
            Err(e) if e.kind() == ErrorKind::NotFound => {
                DirBuilder::new().recursive(true).mode(0o700).create(&self.dir)?;
                create()?
            }
            opened => opened?,
        };
        file.write_all(bytes)?;
        std::fs::rename(&aside, path)
    }

    /// The cached result of an attachment; `None` if there is none.
    pub(crate) fn result(&self, network: &str, attachment: &Attachment) -> Result<Option<CniResult>, Error> {
        let path = self.path(network, attachment);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(Error::cache(&path, "read", e)),
        };
        let value: Value =
            serde_json::from_slice(&bytes).map_err(|e| Error::damaged(&path, format!("it is no valid JSON: {e}")))?;
        let result = if value.get("kind").and_then(Value::as_str) == Some(KIND) {
            let info: Info = cni::read_json(&value).map_err(|e| Error::damaged(&path, e))?;
            let owner = Attachment { container_id: info.container_id, ifname: info.if_name };
            if (info.network_name.as_str(), &owner) != (network, attachment) {
                return Err(Error::CacheTaken { path, network: info.network_name, attachment: owner });
            }
            info.result.ok_or_else(|| Error::damaged(&path, "it holds no result"))?
        } else if ["cniVersion", "ip4", "ip6"].iter().any(|key| value.get(key).is_some()) {
            value
        } else {
            return Err(Error::damaged(&path, format!("it is neither a {KIND} nor a bare result")));
        };
        // One that does not say its version is from the time before results said it.
        CniResult::from_value(&result, SpecVersion::V0_1_0).map(Some).map_err(|e| Error::damaged(&path, e.to_string()))
    }

    /// Forgets an attachment, and what a killed ADD left aside. One that is not there is no error.
    pub(crate) fn remove(&self, network: &str, attachment: &Attachment) -> Result<(), Error> {
        let path = self.path(network, attachment);
        for path in [aside(&path), path] {
            match std::fs::remove_file(&path) {
                Err(e) if e.kind() != ErrorKind::NotFound => return Err(Error::cache(&path, "removed", e)),
                _ => {}
            }
        }
        Ok(())
    }

    /// Every attachment that the cache knows of, ordered by file name. What cannot be understood is left out.
    pub(crate) fn attachments(&self) -> Result<Vec<CachedAttachment>, Error> {
        let failed = |e| Error::cache(&self.dir, "read", e);
        let entries = match std::fs::read_dir(&self.dir) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(failed)?,
        };
        let mut names = Vec::new();
        for entry in entries {
            names.push(entry.map_err(failed)?.file_name());
        }
        names.sort();
        let visible = names.iter().filter(|name| !name.as_encoded_bytes().starts_with(b"."));
        // Another process may remove one meanwhile.
        let bytes = visible.filter_map(|name| std::fs::read(self.dir.join(name)).ok());
        Ok(bytes.filter_map(|bytes| cached_attachment(&bytes)).collect())
    }
}

/// Where a file is written before it takes its name: hidden, and the same each time, so that DEL can find it.
fn aside(path: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".tmp");
    path.with_file_name(name)
}

fn cached_attachment(bytes: &[u8]) -> Option<CachedAttachment> {
    let info: Info = serde_json::from_slice(bytes).ok()?;
    if info.kind != KIND || info.if_name.is_empty() || info.network_name.is_empty() {
        return None;
    }
    let conf = RuntimeConf {
        container_id: info.container_id,
        netns: info.netns.filter(|path| !path.is_empty()).map(PathBuf::from),
        ifname: info.if_name,
        args: info.cni_args.unwrap_or_default(),
        capability_args: info.capability_args.unwrap_or_default(),
    };
    let config = BASE64.decode(info.config.unwrap_or_default()).unwrap_or_default();
    Some(CachedAttachment { network: info.network_name, conf, config })
}

#[cfg(test)]
mod tests;
