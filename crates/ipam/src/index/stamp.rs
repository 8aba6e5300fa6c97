//! How to tell that a directory is as we left it.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_OMIT, utimensat};
use rustix::rand::{GetRandomFlags, getrandom};

use crate::index::Stale;

/// A directory and its state: device, inode, and the times of its last modification and of its last change in seconds and
/// nanoseconds. The kernel's own times are those of its clock tick, so that two changes may have one; ours has a
/// nanosecond drawn at random, which no tick has. The time of the last change cannot be set by anyone: a backup that
/// restores the one restores not the other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Stamp([i64; 6]);

impl Stamp {
    pub(crate) const LENGTH: usize = 48;

    pub(crate) fn read(dir: &Path) -> io::Result<Self> {
        let meta = fs::metadata(dir)?;
        let [dev, ino] = [meta.dev(), meta.ino()].map(u64::cast_signed);
        Ok(Self([dev, ino, meta.mtime(), meta.mtime_nsec(), meta.ctime(), meta.ctime_nsec()]))
    }

    /// Gives the directory a stamp that it never had. An error where the file system cannot keep it.
    pub(crate) fn set(dir: &Path) -> Result<Self, Stale> {
        let mut random = [0; 4];
        if !matches!(getrandom(&mut random, GetRandomFlags::empty()), Ok(4)) {
            return Err(Stale);
        }
        let random = u32::from_ne_bytes(random);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|_| Stale)?;
        let modified = Timespec { tv_sec: now.as_secs().cast_signed(), tv_nsec: i64::from(random % 1_000_000_000) };
        let omitted = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
        let times = Timestamps { last_access: omitted, last_modification: modified };
        utimensat(CWD, dir, &times, AtFlags::empty()).map_err(io::Error::from)?;
        let stamp = Self::read(dir)?;
        if stamp.0[2..4] == [modified.tv_sec, modified.tv_nsec] { Ok(stamp) } else { Err(Stale) }
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut stamp = Self::default();
        for (number, bytes) in stamp.0.iter_mut().zip(bytes.chunks(8)) {
            *number = i64::from_le_bytes(bytes.try_into().ok()?);
        }
        Some(stamp)
    }

    pub(crate) fn bytes(self) -> impl Iterator<Item = u8> {
        self.0.into_iter().flat_map(i64::to_le_bytes)
    }
}
