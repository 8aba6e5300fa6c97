//! The lock of a network's directory: `flock(2)` on its `lock` file, shared with the reference.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{major, minor};

use crate::error::{Error, LockHolder};

/// How often the holder of a lock is looked for: it is there, but not in every reading of the locks.
const LOOKS: usize = 8;

/// Name of the lock file in a network's directory.
pub(crate) const LOCK: &str = "lock";

/// The lock, held until dropped (the kernel drops it when the process ends, however it ends).
#[derive(Debug)]
pub struct Lock {
    #[allow(dead_code, reason = "closing it is what unlocks")]
    file: File,
}

impl Lock {
    /// Takes the lock of a directory that exists, waiting until the deadline is over.
    pub(crate) fn acquire(dir: &Path, deadline: Duration) -> Result<Self, Error> {
        let path = dir.join(LOCK);
        let begin = Instant::now();
        loop {
            // Open for writing: NFS gives an exclusive lock on no other kind of descriptor.
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o750)
                .open(&path)
                .map_err(Error::io("open the lock", &path))?;
            let file = match file.try_lock() {
                Ok(()) => file,
                Err(TryLockError::WouldBlock) => wait(file, &path, begin, deadline)?,
                Err(TryLockError::Error(source)) => return Err(Error::io("lock", &path)(source)),
            };
            // While we waited the file may have been removed and made anew by somebody who locks the new one.
            if is_at(&file, &path)? {
                return Ok(Self { file });
            }
        }
    }
}

/// Blocks in the kernel on a thread of its own: no polling, and the next in line is woken at once.
fn wait(file: File, path: &Path, begin: Instant, deadline: Duration) -> Result<File, Error> {
    let meta = file.metadata().map_err(Error::io("examine the lock", path))?;
    let (sender, receiver) = mpsc::channel();
    let waiter = move || {
        let locked = lock_through_signals(&file).map(|()| file);
        // When nobody waits any more this drops the file, and with it the lock that came too late.
        let _ = sender.send(locked);
    };
    thread::Builder::new()
        .name("lock-wait".to_owned())
        .spawn(waiter)
        .map_err(Error::io("start a thread to wait for the lock", path))?;
    match receiver.recv_timeout(deadline.saturating_sub(begin.elapsed())) {
        Ok(locked) => locked.map_err(Error::io("lock", path)),
        Err(_) => {
            let holder = holder(meta.dev(), meta.ino());
            Err(Error::LockTimeout { file: path.to_owned(), waited: begin.elapsed(), holder })
        }
    }
}

fn lock_through_signals(file: &File) -> io::Result<()> {
    loop {
        match file.lock() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

fn is_at(file: &File, path: &Path) -> Result<bool, Error> {
    let ours = file.metadata().map_err(Error::io("examine the lock", path))?;
    match fs::metadata(path) {
        Ok(there) => Ok((ours.dev(), ours.ino()) == (there.dev(), there.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Error::io("examine the lock", path)(error)),
    }
}

fn holder(device: u64, inode: u64) -> Option<LockHolder> {
    let pid = (0..LOOKS).find_map(|_| find_holder(&locks().ok()?, device, inode))?;
    let command = fs::read_to_string(format!("/proc/{pid}/comm")).ok();
    Some(LockHolder { pid, command: command.map(|name| name.trim().to_owned()) })
}

/// The text of `/proc/locks`, a page at a time: between two reads the kernel counts its way anew, and passes over a lock when
/// one before it has been released. The fewer the reads, the better.
fn locks() -> io::Result<String> {
    let mut text = String::with_capacity(1 << 16);
    File::open("/proc/locks")?.read_to_string(&mut text)?;
    Ok(text)
}

/// Finds the holder in the text of `/proc/locks` (proc_locks(5)): `1: FLOCK ADVISORY WRITE <pid> <major>:<minor>:<inode>
/// 0 EOF`; lines with `->` are processes that wait.
fn find_holder(locks: &str, device: u64, inode: u64) -> Option<u32> {
    let whole = format!("{:02x}:{:02x}:{inode}", major(device), minor(device));
    let inode = format!(":{inode}");
    let held = || {
        locks.lines().filter_map(|line| {
            let mut words = line.split_whitespace().skip(1);
            let (kind, pid, file) = (words.next()?, words.nth(2)?, words.next()?);
            (kind == "FLOCK").then_some((pid.parse().ok()?, file))
        })
    };
    // Overlayfs and btrfs show user space another device number than the one printed there.
    let exact = held().find(|(_, file)| *file == whole);
    exact.or_else(|| held().find(|(_, file)| file.ends_with(&inode))).map(|(pid, _)| pid)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCKS: &str = "\
1: POSIX  ADVISORY  WRITE 11 08:01:77 0 EOF
2: FLOCK  ADVISORY  WRITE 22 00:1f:77 0 EOF
3: FLOCK  ADVISORY  WRITE 33 08:01:77 0 EOF
3: -> FLOCK  ADVISORY  WRITE 44 08:01:77 0 EOF
";

    #[test]
    fn finds_the_holder_not_those_who_wait() {
        assert_eq!(find_holder(LOCKS, rustix::fs::makedev(8, 1), 77), Some(33));
        assert_eq!(find_holder(LOCKS, rustix::fs::makedev(9, 9), 77), Some(22), "by inode when no device fits");
        assert_eq!(find_holder(LOCKS, rustix::fs::makedev(8, 1), 7), None);
        assert_eq!(find_holder("damaged\n\n1:", 0, 0), None);
    }

    #[test]
    fn a_deadline_names_the_holder_and_takes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let held = Lock::acquire(dir.path(), Duration::ZERO).unwrap();
        let error = Lock::acquire(dir.path(), Duration::from_millis(20)).unwrap_err();
        let Error::LockTimeout { holder: Some(holder), .. } = &error else { panic!("{error}") };
        assert_eq!(holder.pid, std::process::id());
        assert!(error.to_string().contains(&format!("by process {}", std::process::id())), "{error}");
        drop(held);
        // The waiter that gave up gets the lock now and must not keep it.
        Lock::acquire(dir.path(), Duration::from_secs(30)).unwrap();
    }

    #[test]
    fn the_next_in_line_gets_it() {
        let dir = tempfile::tempdir().unwrap();
        let held = Lock::acquire(dir.path(), Duration::ZERO).unwrap();
        thread::scope(|scope| {
            let waiter = scope.spawn(|| Lock::acquire(dir.path(), Duration::from_secs(30)).map(drop));
            drop(held);
            waiter.join().unwrap().unwrap();
        });
    }

    /// Spins until somebody waits for the lock of this file, as /proc/locks tells.
    fn until_awaited(file: &File, still_waiting: impl Fn() -> bool) {
        let inode = format!(":{} ", file.metadata().unwrap().ino());
        let awaited = || {
            let locks = fs::read_to_string("/proc/locks").unwrap();
            locks.lines().any(|line| line.contains("->") && line.contains(&inode))
        };
        while !awaited() {
            assert!(still_waiting(), "it got the lock of a file that is not there any more");
            thread::yield_now();
        }
    }

    #[test]
    fn a_lock_file_replaced_meanwhile_is_not_taken_for_the_lock() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(LOCK);
        let old = Lock::acquire(dir.path(), Duration::ZERO).unwrap();
        thread::scope(|scope| {
            let waiter = scope.spawn(|| Lock::acquire(dir.path(), Duration::from_secs(30)).map(drop));
            until_awaited(&old.file, || !waiter.is_finished());
            fs::remove_file(&path).unwrap();
            let new = Lock::acquire(dir.path(), Duration::ZERO).unwrap();
            drop(old);
            until_awaited(&new.file, || !waiter.is_finished());
            drop(new);
            waiter.join().unwrap().unwrap();
        });
    }
}
