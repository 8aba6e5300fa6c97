//! The file that holds what was there before an ADD: `<dataDir>/<container ID>_<ifname>.json`.
//!
//! Name and keys are the reference's, so that each of the two can delete a pod that the other made. Under a key that
//! the reference does not know we add whose it is, without which GC could not tell our network's files from others'.

use std::fs;
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use cni::{Attachment, Error, ErrorCode};
use netlink::Link;
use serde::{Deserialize, Serialize};

/// What was there before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Backup {
    /// The MAC, where it was changed.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub mac: String,
    /// Whether promiscuous mode was on, where it was changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub promisc: Option<bool>,
    /// The MTU in bytes; 0 where it was not changed.
    #[serde(skip_serializing_if = "is_zero")]
    pub mtu: u32,
    /// Whether all multicast frames were taken in, where it was changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allmulti: Option<bool>,
    /// The queue's length in packets, where it was changed.
    #[serde(rename = "txQLen", skip_serializing_if = "Option::is_none")]
    pub tx_queue_len: Option<u32>,
    /// What only ours have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub podlink: Option<Record>,
}

/// Whose backup it is, and of what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The network's name.
    pub network: String,
    /// The attachment.
    #[serde(flatten)]
    pub attachment: Attachment,
    /// Which interface of which namespace it was taken of, see [`place`].
    pub place: String,
    /// Sysctls that were changed, in the order they were set.
    #[serde(default)]
    pub sysctls: Vec<Saved>,
}

/// A sysctl that was changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    /// Below /proc/sys/net.
    pub path: String,
    /// Its value before.
    pub before: String,
    /// The value it was given.
    pub after: String,
}

impl Backup {
    /// Where an earlier ADD of this interface was killed, its backup has the values from before any change.
    pub fn keep_older(&mut self, older: Option<Backup>) {
        let Some(older) = older else { return };
        let (Some(record), Some(older_record)) = (&mut self.podlink, older.podlink) else { return };
        if record.place != older_record.place {
            return;
        }
        if !older.mac.is_empty() {
            self.mac = older.mac;
        }
        if older.mtu != 0 {
            self.mtu = older.mtu;
        }
        self.promisc = older.promisc.or(self.promisc);
        self.allmulti = older.allmulti.or(self.allmulti);
        self.tx_queue_len = older.tx_queue_len.or(self.tx_queue_len);
        let mut sysctls = older_record.sysctls;
        for new in record.sysctls.drain(..) {
            match sysctls.iter_mut().find(|saved| saved.path == new.path) {
                Some(saved) => saved.after = new.after,
                None => sysctls.push(new),
            }
        }
        record.sysctls = sysctls;
    }
}

/// Tells the interface from any other on the node, also from one of the same name in a namespace of the same path:
/// device and inode of the namespace (namespaces(7)), index of the interface.
///
/// # Errors
/// When the namespace is gone.
pub fn place(netns: &Path, link: Option<&Link>) -> Result<String, Error> {
    let meta = fs::metadata(netns).map_err(|e| {
        Error::new(ErrorCode::INVALID_NETNS, format!("failed to open netns {:?}: {e}", netns.display()))
    })?;
    Ok(format!("{}:{}:{}", meta.dev(), meta.ino(), link.map_or(0, |link| link.index)))
}

/// The file of one attachment.
#[derive(Debug)]
pub struct BackupFile {
    dir: PathBuf,
    name: String,
}

impl BackupFile {
    /// In the directory `dir`.
    pub fn of(dir: &Path, attachment: &Attachment) -> BackupFile {
        let name = format!("{}_{}.json", attachment.container_id, attachment.ifname);
        BackupFile { dir: dir.to_owned(), name }
    }

    fn path(&self) -> PathBuf {
        self.dir.join(&self.name)
    }

    /// The file while it is being written. A leading dot: no container ID begins with one.
    fn aside(&self) -> PathBuf {
        self.dir.join(format!(".{}", self.name))
    }

    /// Its content; `None` where there is no file, or none that can be read: then there is nothing to put back.
    pub fn read(&self) -> Option<Backup> {
        match read(&self.path()) {
            Ok(backup) => backup,
            Err(e) => {
                cni::note(format_args!("tuning: ignoring the backup {}: {e}", self.path().display()));
                None
            }
        }
    }

    /// Writes it, whole or not at all.
    ///
    /// # Errors
    /// Code 5 with the path.
    pub fn write(&self, backup: &Backup) -> Result<(), Error> {
        let aside = self.aside();
        let written = serde_json::to_vec_pretty(backup).map_err(io::Error::from).and_then(|text| {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.dir)?;
            let mut options = fs::OpenOptions::new();
            options.write(true).create(true).truncate(true).mode(0o600);
            options.open(&aside)?.write_all(&text)?;
            fs::rename(&aside, self.path())
        });
        written.map_err(|e| {
            let _ = fs::remove_file(&aside);
            let path = self.path();
            Error::new(ErrorCode::IO, format!("writing the backup {}: {e}", path.display()))
                .with_details("nothing was changed; dataDir in the config says where backups are kept")
        })
    }

    /// Removes it. One that is not there is fine.
    ///
    /// # Errors
    /// Code 5 with the path.
    pub fn remove(&self) -> Result<(), Error> {
        remove(&self.aside())?;
        remove(&self.path())
    }

    /// The sysctls that the container's other attachments have set.
    pub fn sysctls_of_others(&self, attachment: &Attachment) -> Vec<String> {
        let records = all(&self.dir).into_iter().filter_map(|(_, backup)| backup.podlink);
        let others = records.filter(|record| {
            record.attachment.container_id == attachment.container_id && record.attachment.ifname != attachment.ifname
        });
        others.flat_map(|record| record.sysctls).map(|saved| saved.path).collect()
    }
}

/// Removes the files of `network`'s attachments that are not in `valid`. Files that do not say whose they are, the
/// reference's, stay: DEL knows them by their name.
///
/// # Errors
/// Those that could not be removed, after the rest was.
pub fn remove_unowned(dir: &Path, network: &str, valid: &[Attachment]) -> Result<(), Error> {
    let mut failures = Vec::new();
    for (path, backup) in all(dir) {
        let unowned =
            backup.podlink.is_some_and(|record| record.network == network && !valid.contains(&record.attachment));
        if unowned && let Err(e) = remove(&path) {
            failures.push(e.to_string());
        }
    }
    if failures.is_empty() {
        return Ok(());
    }
    Err(Error::new(ErrorCode::IO, format!("GC of network {network:?}: {}", failures.join("; "))))
}

/// Every backup in `dir` that can be read.
fn all(dir: &Path) -> Vec<(PathBuf, Backup)> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let backups = entries.filter(|path| path.extension().is_some_and(|extension| extension == "json"));
    backups.filter_map(|path| read(&path).ok().flatten().map(|backup| (path, backup))).collect()
}

fn read(path: &Path) -> io::Result<Option<Backup>> {
    match fs::read(path) {
        Ok(text) => Ok(Some(serde_json::from_slice(&text)?)),
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(e) => Err(e),
    }
}

fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(e) if !matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Err(Error::new(ErrorCode::IO, format!("removing the backup {}: {e}", path.display())))
        }
        _ => Ok(()),
    }
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

#[cfg(test)]
mod tests;
