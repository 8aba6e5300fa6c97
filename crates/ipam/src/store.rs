//! One network's directory: where it is, who may change it, what is in it.

use std::fs::DirBuilder;
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{Access, access};
use rustix::io::Errno;

use crate::attachment::Attachment;
use crate::boot::Mark;
use crate::directory::{Directory, Reservation};
use crate::error::Error;
use crate::lock::Lock;
use crate::range_set::{RangeSet, RangeSets};
use crate::view::View;

/// Where the networks' directories are unless the user says otherwise.
pub const DEFAULT_DATA_DIR: &str = "/var/lib/cni/networks";

/// How long to wait for the lock before giving up.
pub const DEFAULT_LOCK_DEADLINE: Duration = Duration::from_secs(30);

/// The addresses of one network on disk. Holds no state of its own: every call looks at the directory, so that any number
/// of processes, ours and the reference's, can work on it at once.
#[derive(Debug, Clone)]
pub struct Store {
    network: String,
    dir: PathBuf,
    lock_deadline: Duration,
    keeps_earlier_boots: bool,
}

/// How full one range set is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage {
    /// The ranges.
    pub ranges: RangeSet,
    /// How many addresses it can give out, stopping at `u128::MAX`.
    pub capacity: u128,
    /// How many of them are taken.
    pub used: u128,
}

impl Usage {
    /// How many addresses are left.
    pub fn free(&self) -> u128 {
        self.capacity.saturating_sub(self.used)
    }
}

impl Store {
    /// The store of a network below a data directory. Touches nothing.
    ///
    /// # Errors
    /// [`Error::NetworkName`] if the name would lead out of the data directory or hide there.
    pub fn new(data_dir: &Path, network: &str) -> Result<Self, Error> {
        if !network.starts_with(|c: char| c.is_ascii_alphanumeric()) || network.contains(['/', '\0']) {
            return Err(Error::NetworkName { network: network.to_owned() });
        }
        let dir = data_dir.join(network);
        Ok(Self { network: network.to_owned(), dir, lock_deadline: DEFAULT_LOCK_DEADLINE, keeps_earlier_boots: false })
    }

    /// The same store with another patience for the lock.
    pub fn with_lock_deadline(self, lock_deadline: Duration) -> Self {
        Self { lock_deadline, ..self }
    }

    /// The same store, or one that does not take what an earlier boot of this node left for free.
    pub fn keep_earlier_boots(self, keep: bool) -> Self {
        Self { keeps_earlier_boots: keep, ..self }
    }

    /// Whether reservations of earlier boots stay.
    pub(crate) fn keeps_earlier_boots(&self) -> bool {
        self.keeps_earlier_boots
    }

    /// The name of the network.
    pub fn network(&self) -> &str {
        &self.network
    }

    /// The directory with the address files. It need not exist.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// All reservations, sorted by address. Takes no lock and writes nothing.
    ///
    /// # Errors
    /// [`Error::Io`] if the directory cannot be read.
    pub fn list(&self) -> Result<Vec<Reservation>, Error> {
        let mut all = Directory::read(&self.dir, Mark::current().as_ref())?.into_reservations();
        all.sort_unstable_by_key(|reservation| reservation.address);
        Ok(all)
    }

    /// The addresses an attachment holds, sorted. Takes no lock and writes nothing.
    ///
    /// # Errors
    /// [`Error::Io`] if the directory cannot be read.
    pub fn held_by(&self, attachment: &Attachment) -> Result<Vec<IpAddr>, Error> {
        let held = self.look(|view| view.held_by(attachment))?;
        let mut held: Vec<_> = held.into_iter().map(|reservation| reservation.address).collect();
        held.sort_unstable();
        Ok(held)
    }

    /// How full each range set is, in their order: what the next allocation would find. Takes no lock and writes nothing.
    ///
    /// # Errors
    /// [`Error::Io`] if the directory cannot be read, [`Error::NotWritable`] if nothing can be reserved in it.
    pub fn status(&self, sets: &RangeSets) -> Result<Vec<Usage>, Error> {
        let usage = self.look(|view| {
            view.take_dead(!self.keeps_earlier_boots, &[])?;
            Ok(sets.iter().map(|ranges| view.usage(ranges)).collect())
        })?;
        self.check_writable()?;
        Ok(usage)
    }

    /// Looks at the directory without the lock.
    fn look<T>(&self, at: impl Fn(&mut View<'_>) -> Result<T, Error>) -> Result<T, Error> {
        let mut view = View::open(&self.dir)?;
        let seen = at(&mut view)?;
        if view.is_current() {
            return Ok(seen);
        }
        // Somebody changed it meanwhile, and may be about to change the index. The files are right at any moment.
        view.read_files()?;
        at(&mut view)
    }

    /// What an allocation says that finds this set full (`set` is its number, from 0).
    pub fn full(&self, set: usize, usage: Usage) -> Error {
        Error::Full { network: self.network.clone(), set, usage: Box::new(usage), dir: self.dir.clone() }
    }

    /// Takes the lock, making the directory where there is none.
    pub(crate) fn lock_or_create(&self) -> Result<Lock, Error> {
        let mut tries = 3;
        loop {
            match Lock::acquire(&self.dir, self.lock_deadline) {
                // Somebody may remove the directory right after we made it.
                Err(error) if error.is_not_found() && tries > 0 => tries -= 1,
                done => return done,
            }
            DirBuilder::new()
                .recursive(true)
                .mode(0o755)
                .create(&self.dir)
                .map_err(Error::io("create the directory", &self.dir))?;
        }
    }

    /// Takes the lock of the network's directory, for a look and a change that nothing may come between: while it is held nobody
    /// reserves or releases there, and every call on this store that changes something waits. `None` if there is no directory,
    /// and so nothing to change.
    ///
    /// # Errors
    /// [`Error::LockTimeout`]; [`Error::Io`].
    pub fn lock(&self) -> Result<Option<Lock>, Error> {
        match Lock::acquire(&self.dir, self.lock_deadline) {
            Ok(lock) => Ok(Some(lock)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A directory that is not there yet must be one that can be made.
    fn check_writable(&self) -> Result<(), Error> {
        for at in self.dir.ancestors() {
            let at = if at.as_os_str().is_empty() { Path::new(".") } else { at };
            match access(at, Access::WRITE_OK | Access::EXEC_OK) {
                Ok(()) => return Ok(()),
                Err(Errno::NOENT) => {}
                Err(errno) => {
                    let reason = io::Error::from(errno);
                    return Err(Error::NotWritable { dir: self.dir.clone(), at: at.to_owned(), reason });
                }
            }
        }
        Ok(())
    }
}
