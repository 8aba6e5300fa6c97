//! The delegated configs that are kept from ADD to DEL: a file for each container, with the reference's name and content.
//!
//! A node is upgraded and rolled back in place, so each implementation must find what the other kept. Nothing is lost
//! with a file but keys that have changed since ADD: without it, DEL works by whose the attachment is.

use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use cni::{Attachment, Error, ErrorCode};
use serde_json::Value;

use crate::config::Object;

/// One container's file.
#[derive(Debug)]
pub(crate) struct Kept<'a> {
    dir: &'a Path,
    attachment: &'a Attachment,
    network: &'a str,
}

impl<'a> Kept<'a> {
    /// The file in `dir` (`dataDir`) for the container of `attachment`.
    pub(crate) fn of(dir: &'a Path, attachment: &'a Attachment, network: &'a str) -> Kept<'a> {
        Kept { dir, attachment, network }
    }

    fn path(&self) -> PathBuf {
        self.dir.join(&self.attachment.container_id)
    }

    /// Where the content is written before it gets its name. No container ID begins with a dot.
    fn aside(&self) -> PathBuf {
        self.dir.join(format!(".{}.{}", self.attachment.container_id, self.attachment.ifname))
    }

    /// What is kept for this network. A file that a power cut left empty is none, and a container in two networks has room for
    /// one of them.
    ///
    /// # Errors
    /// Code 5 for a file that cannot be read.
    pub(crate) fn read(&self) -> Result<Option<Object>, Error> {
        Ok(self.content()?.and_then(|bytes| config_of(&bytes, self.network)))
    }

    fn content(&self) -> Result<Option<Vec<u8>>, Error> {
        match std::fs::read(self.path()) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(e) if e.kind() == ErrorKind::NotFound || e.kind() == ErrorKind::NotADirectory => Ok(None),
            Err(e) => Err(self.failed("read", &e)),
        }
    }

    /// Keeps `config` until the guard is dropped, or for good after [`Guard::keep`].
    ///
    /// # Errors
    /// Code 5 for a file that cannot be written.
    pub(crate) fn write(self, config: &[u8]) -> Result<Guard<'a>, Error> {
        let before = self.content()?;
        self.put(config).map_err(|e| self.failed("write", &e))?;
        Ok(Guard { kept: self, before, armed: true })
    }

    /// Whole or not at all. A power cut takes the pods with it, so it need not reach the disk.
    fn put(&self, content: &[u8]) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(self.dir)?;
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(self.aside())?;
        file.write_all(content)?;
        std::fs::rename(self.aside(), self.path())
    }

    /// Removes the file if it is this network's, and what a killed ADD left of one.
    ///
    /// # Errors
    /// Code 5 for a file that cannot be removed.
    pub(crate) fn remove(&self) -> Result<(), Error> {
        let is_anothers = self.content()?.and_then(|bytes| network_of(&bytes)).is_some_and(|name| name != self.network);
        for path in std::iter::once(self.aside()).chain((!is_anothers).then(|| self.path())) {
            remove(&path).map_err(|e| self.failed("remove", &e))?;
        }
        Ok(())
    }

    fn failed(&self, what: &str, e: &io::Error) -> Error {
        let msg = format!("cannot {what} {}, the delegated config of {}: {e}", self.path().display(), self.attachment);
        Error::new(ErrorCode::IO, msg).with_details("dataDir of the network's config says where it is")
    }
}

/// A config that was written for an ADD. Dropped (on an error), what was there before is there again: an earlier ADD
/// of the same attachment may be in force.
#[derive(Debug)]
pub(crate) struct Guard<'a> {
    kept: Kept<'a>,
    before: Option<Vec<u8>>,
    armed: bool,
}

impl Guard<'_> {
    /// The ADD succeeded.
    pub(crate) fn keep(mut self) {
        self.armed = false;
    }
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if !self.armed {
            return;
        }
        let undone = match &self.before {
            Some(before) => self.kept.put(before),
            None => remove(&self.kept.path()),
        };
        if let Err(e) = undone {
            cni::note(format_args!("undoing the failed ADD: {}: {e}", self.kept.path().display()));
        }
    }
}

/// The kept configs of `network` for containers that have no attachment in `valid`, each with its file.
///
/// # Errors
/// Code 5 for a directory that cannot be read.
pub(crate) fn dead(dir: &Path, network: &str, valid: &[Attachment]) -> Result<Vec<(PathBuf, Object)>, Error> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(Error::new(ErrorCode::IO, format!("cannot list dataDir {}: {e}", dir.display()))),
    };
    let dead = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        // One written aside is called after the container, too.
        let of = |kept: &Attachment| {
            *name == *kept.container_id || *name == format!(".{}.{}", kept.container_id, kept.ifname)
        };
        !valid.iter().any(of)
    };
    let paths = entries.flatten().map(|entry| entry.path()).filter(dead);
    Ok(paths.filter_map(|path| config_of(&std::fs::read(&path).ok()?, network).map(|config| (path, config))).collect())
}

/// Removes a file; one that is not there is fine.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != ErrorKind::NotFound && e.kind() != ErrorKind::NotADirectory => Err(e),
        _ => Ok(()),
    }
}

fn config_of(bytes: &[u8], network: &str) -> Option<Object> {
    let config: Object = serde_json::from_slice(bytes).ok()?;
    (config.get("name").and_then(Value::as_str) == Some(network)).then_some(config)
}

fn network_of(bytes: &[u8]) -> Option<String> {
    let config: Object = serde_json::from_slice(bytes).ok()?;
    config.get("name").and_then(Value::as_str).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attachment(id: &str) -> Attachment {
        Attachment { container_id: id.to_owned(), ifname: "eth0".to_owned() }
    }

    fn files(dir: &Path) -> Vec<String> {
        let mut files: Vec<_> =
            std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
        files.sort();
        files
    }

    #[test]
    fn a_failed_add_leaves_what_was_there() {
        let dir = tempfile::tempdir().unwrap();
        let (dir, c1) = (dir.path().join("flannel"), attachment("c1"));
        let kept = || Kept::of(&dir, &c1, "net");
        assert!(kept().read().unwrap().is_none());
        drop(kept().write(br#"{"name": "net", "mtu": 1}"#).unwrap());
        assert_eq!(files(&dir), [""; 0]);
        kept().write(br#"{"name": "net", "mtu": 1}"#).unwrap().keep();
        drop(kept().write(br#"{"name": "net", "mtu": 2}"#).unwrap());
        assert_eq!(kept().read().unwrap().unwrap()["mtu"], 1);
        kept().remove().unwrap();
        kept().remove().unwrap();
        assert_eq!(files(&dir), [""; 0]);
    }

    #[test]
    fn another_networks_file_is_neither_read_nor_removed_and_an_empty_one_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let c1 = attachment("c1");
        Kept::of(dir.path(), &c1, "other").write(br#"{"name": "other"}"#).unwrap().keep();
        let ours = Kept::of(dir.path(), &c1, "net");
        assert!(ours.read().unwrap().is_none());
        ours.remove().unwrap();
        assert_eq!(files(dir.path()), ["c1"]);
        std::fs::write(dir.path().join("c1"), "").unwrap();
        assert!(ours.read().unwrap().is_none());
        ours.remove().unwrap();
        assert_eq!(files(dir.path()), [""; 0]);
    }

    #[test]
    fn gc_finds_the_dead_of_its_network() {
        let dir = tempfile::tempdir().unwrap();
        for (file, network) in [("c1", "net"), ("c2", "net"), (".c3.eth0", "net"), (".c1.eth0", "net"), ("c4", "other")]
        {
            std::fs::write(dir.path().join(file), format!("{{\"name\": \"{network}\"}}")).unwrap();
        }
        let dead = dead(dir.path(), "net", &[attachment("c1")]).unwrap();
        let mut names: Vec<_> = dead.iter().map(|(path, _)| path.file_name().unwrap().to_str().unwrap()).collect();
        names.sort();
        assert_eq!(names, [".c3.eth0", "c2"]);
        assert!(super::dead(Path::new("/nonexistent"), "net", &[]).unwrap().is_empty());
    }
}
