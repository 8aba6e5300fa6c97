//! The index: what an attachment holds and which addresses are taken, at a cost that does not grow with their number.
//!
//! It is a cache of the address files, in `<data dir>/.podlink/<network>/index`, and may be deleted at any time. It counts
//! only while it is current: after each change of ours, under the lock, the network directory's modification time is set to
//! a nanosecond drawn at random and noted here, with the inode and its change time (`stamp.rs`). Whoever adds, removes or
//! replaces a file overwrites it, and the index is made anew from the files. (An address file edited in place does not; what
//! is found through the index is therefore compared with its file. Nobody but a person does that.) A change is made to the
//! directory first and to the index after, so one that is killed in between leaves an index that is not current.
//!
//! All numbers are little-endian. The file is a [`Header`], then [`Taken`], then the [`slots`].

mod header;
mod slots;
mod stamp;
mod taken;

use std::fs::{self, File, OpenOptions};
use std::hash::Hasher;
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use siphasher::sip::SipHasher13;

use crate::attachment::{Attachment, Holder};
use crate::boot::Mark;
use crate::directory::Directory;
use crate::index::header::Header;
use crate::index::stamp::Stamp;
use crate::index::taken::Taken;

/// The directory beside the networks' own. No network can have this name: theirs start with a letter or digit.
const HIDDEN: &str = ".podlink";

/// An index that was current when it was opened.
#[derive(Debug)]
pub(crate) struct Index {
    file: File,
    header: Header,
    taken: Taken,
}

/// The index is not, or no longer, what the directory says.
#[derive(Debug)]
pub(crate) struct Stale;

impl From<io::Error> for Stale {
    fn from(_: io::Error) -> Self {
        Self
    }
}

impl Index {
    /// Opens the index of the network directory `dir` if it is current and of this boot: after a power cut, what was written
    /// last may be lost in one file and not in another.
    pub(crate) fn open(dir: &Path, mark: &Mark) -> Result<Self, Stale> {
        let file = OpenOptions::new().read(true).write(true).open(path(dir))?;
        let header = Header::read(&file)?;
        if !header.is_of(mark) || header.stamp != Stamp::read(dir)? {
            return Err(Stale);
        }
        let taken = Taken::read(&file, &header)?;
        Ok(Self { file, header, taken })
    }

    /// Whether the directory is still as it was when this was opened: what was read without the lock counts only then.
    pub(crate) fn is_current(&self, dir: &Path) -> bool {
        Stamp::read(dir).is_ok_and(|stamp| stamp == self.header.stamp)
    }

    /// How many damaged reservations there are, and how many of an earlier boot.
    pub(crate) fn dead(&self) -> (u32, u32) {
        (self.header.damaged, self.header.earlier)
    }

    /// Where files of this attachment are, to be compared with them: first its own, or else old ones with its container ID.
    pub(crate) fn find(&self, attachment: &Attachment) -> Result<Vec<IpAddr>, Stale> {
        let own = slots::find(&self.file, &self.header, key(attachment.container_id(), attachment.ifname()))?;
        if own.is_empty() { slots::find(&self.file, &self.header, key(attachment.container_id(), "")) } else { Ok(own) }
    }

    /// Whether a file stands for the address.
    pub(crate) fn is_taken(&self, address: IpAddr) -> bool {
        self.taken.contains(address)
    }

    /// How many addresses from `first` to `last` a file stands for, both included.
    pub(crate) fn count(&self, first: IpAddr, last: IpAddr) -> usize {
        self.taken.count(first, last)
    }

    /// Notes a reservation that was made. Needs the lock, as the next two.
    pub(crate) fn add(&mut self, holder: &Holder, address: IpAddr) -> Result<(), Stale> {
        if let Some(key) = key_of(holder) {
            slots::insert(&self.file, &mut self.header, key, address)?;
        }
        self.taken.insert(&self.file, &mut self.header, address)
    }

    /// Notes a reservation that was removed.
    pub(crate) fn remove(&mut self, holder: &Holder, address: IpAddr) -> Result<(), Stale> {
        if let Some(key) = key_of(holder) {
            slots::remove(&self.file, &mut self.header, key, address)?;
        }
        self.taken.remove(&self.file, address)
    }

    /// Makes it current, after the directory and the index were changed.
    pub(crate) fn seal(&mut self, dir: &Path) -> Result<(), Stale> {
        self.header.stamp = Stamp::set(dir)?;
        Ok(self.file.write_all_at(&self.header.bytes(), 0)?)
    }

    /// Makes an index of what was read under the lock, and makes it current.
    pub(crate) fn build(dir: &Path, mark: &Mark, directory: &Directory) -> Result<(), Stale> {
        // Not for nothing, where the file system keeps no stamps.
        Stamp::set(dir)?;
        let mut taken = Taken::default();
        for address in directory.taken() {
            taken.note(address)?;
        }
        let (damaged, earlier) = directory.dead();
        let entries: Vec<_> = directory.holders().filter_map(|(holder, at)| Some((key_of(holder)?, at))).collect();
        let mut header = Header::new(mark, taken.len(), entries.len());
        (header.damaged, header.earlier) = (damaged, earlier);

        let (path, aside) = (path(dir), path(dir).with_extension("new"));
        if let Some(parent) = path.parent() {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
        }
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(0o600).open(&aside)?;
        file.write_all_at(&taken.bytes(), Header::LENGTH)?;
        slots::build(&file, &mut header, &entries)?;
        let mut built = Self { file, header, taken };
        fs::rename(&aside, &path)?;
        built.seal(dir)
    }

    /// Deletes it, so that nobody has to find out that it is not current.
    pub(crate) fn discard(dir: &Path) {
        let _ = fs::remove_file(path(dir));
    }
}

/// Where the index of a network directory is.
fn path(dir: &Path) -> PathBuf {
    let network = dir.file_name().unwrap_or_default();
    dir.with_file_name(HIDDEN).join(network).join("index")
}

fn key_of(holder: &Holder) -> Option<u64> {
    match holder {
        Holder::Attachment(attachment) => Some(key(attachment.container_id(), attachment.ifname())),
        Holder::Container(container_id) => Some(key(container_id, "")),
        Holder::Nobody | Holder::Foreign(_) => None,
    }
}

/// Never 0 or 1, which mark slots without an entry.
fn key(container_id: &str, ifname: &str) -> u64 {
    let mut hasher = SipHasher13::new();
    for part in [container_id, ifname] {
        hasher.write(part.as_bytes());
        hasher.write(&[0]);
    }
    hasher.finish().max(2)
}
