//! The lock of a network's addresses, for a check and a removal that nothing may come between.
//!
//! The same `flock(2)` on the same file as in `crates/ipam`: while it is held nobody reserves or releases there.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;

use ipam::DEFAULT_LOCK_DEADLINE;

use crate::error::Error;

/// The lock, held until dropped.
#[derive(Debug)]
pub(crate) struct Held {
    #[expect(dead_code, reason = "closing it is what unlocks")]
    file: File,
}

/// Takes the lock of a network's directory; `None` where there is no such directory.
pub(crate) fn take(dir: &Path) -> Result<Option<Held>, Error> {
    let path = dir.join("lock");
    loop {
        let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o750).open(&path);
        let file = match opened {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(failed(&path))?,
        };
        let file = match file.try_lock() {
            Ok(()) => file,
            Err(TryLockError::WouldBlock) => wait(file, &path)?,
            Err(TryLockError::Error(source)) => return Err(failed(&path)(source)),
        };
        // Somebody may have removed it meanwhile, and others lock a new one.
        let identity = |meta: std::fs::Metadata| (meta.dev(), meta.ino());
        let ours = file.metadata().map(identity).map_err(failed(&path))?;
        if path.metadata().map(identity).is_ok_and(|there| there == ours) {
            return Ok(Some(Held { file }));
        }
    }
}

/// On a thread of its own, which the kernel wakes; a lock that comes after the deadline is dropped there.
fn wait(file: File, path: &Path) -> Result<File, Error> {
    let (sender, receiver) = mpsc::channel();
    let waiter = move || {
        let locked = loop {
            match file.lock() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                done => break done,
            }
        };
        let _ = sender.send(locked.map(|()| file));
    };
    thread::Builder::new().name("lock-wait".to_owned()).spawn(waiter).map_err(failed(path))?;
    match receiver.recv_timeout(DEFAULT_LOCK_DEADLINE) {
        Ok(locked) => locked.map_err(failed(path)),
        Err(_) => Err(Error::LockTimeout { file: path.to_owned(), waited: DEFAULT_LOCK_DEADLINE }),
    }
}

fn failed(path: &Path) -> impl Fn(io::Error) -> Error {
    let file = PathBuf::from(path);
    move |source| Error::Lock { file: file.clone(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_store_waits_for_it() {
        let dir = tempfile::tempdir().unwrap();
        assert!(take(&dir.path().join("none")).unwrap().is_none());
        std::fs::create_dir(dir.path().join("net")).unwrap();
        let held = take(&dir.path().join("net")).unwrap().unwrap();
        let store = ipam::Store::new(dir.path(), "net").unwrap().with_lock_deadline(std::time::Duration::ZERO);
        let pod = ipam::Attachment::new("c1", "eth0");
        assert!(matches!(store.release(&pod), Err(ipam::Error::LockTimeout { .. })));
        drop(held);
        store.release(&pod).unwrap();
    }
}
