//! What a network's directory says: the one place that reads address files.
//!
//! Every file is opened and read once per call. An index that makes this flat belongs behind [`Directory`].

use std::collections::HashSet;
use std::fs::{self, File, FileType};
use std::io::{self, Read};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use crate::attachment::{Attachment, Holder};
use crate::error::Error;
use crate::range_set::RangeSet;
use crate::reserve::TEMPORARY;
use crate::store::Usage;

/// More than any reservation holds: container IDs have at most a few hundred bytes.
const LONGEST: usize = 4096;

/// One address that somebody has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservation {
    /// The address.
    pub address: IpAddr,
    /// Who has it.
    pub holder: Holder,
    /// The address file.
    pub file: PathBuf,
}

/// The reservations of a network at one moment.
#[derive(Debug)]
pub(crate) struct Directory {
    reservations: Vec<Reservation>,
    taken: HashSet<IpAddr>,
    /// A temporary file that a killed process left (or, when read without the lock, one in use).
    pub(crate) temporary: Option<PathBuf>,
}

impl Directory {
    /// Reads a directory; one that does not exist has no reservations. Files that vanish meanwhile are left out.
    pub(crate) fn read(dir: &Path) -> Result<Self, Error> {
        let mut found = Self { reservations: Vec::new(), taken: HashSet::new(), temporary: None };
        let entries = match fs::read_dir(dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
            Err(error) => return Err(Error::io("list the addresses in", dir)(error)),
        };
        let mut buffer = [0; LONGEST];
        for entry in entries {
            let entry = entry.map_err(Error::io("list the addresses in", dir))?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            if name == TEMPORARY {
                found.temporary = Some(entry.path());
                continue;
            }
            // `lock`, `last_reserved_ip.0` and whatever else lies here is no address.
            let Ok(address) = name.parse::<IpAddr>() else { continue };
            let file = entry.path();
            if let Some(holder) = read_holder(&file, entry.file_type(), &mut buffer) {
                found.taken.insert(address);
                found.reservations.push(Reservation { address, holder, file });
            }
        }
        Ok(found)
    }

    /// All reservations, in no order.
    pub(crate) fn into_reservations(self) -> Vec<Reservation> {
        self.reservations
    }

    /// The reservations that stand for an attachment. An old file with the container ID alone counts only where the
    /// attachment has none of its own, as in the reference.
    pub(crate) fn held_by(&self, attachment: &Attachment) -> Vec<&Reservation> {
        let matching = || self.reservations.iter().filter(|r| r.holder.is(attachment));
        let own: Vec<_> = matching().filter(|r| matches!(r.holder, Holder::Attachment(_))).collect();
        if own.is_empty() { matching().collect() } else { own }
    }

    /// Who has the address.
    pub(crate) fn reservation(&self, address: IpAddr) -> Option<&Reservation> {
        self.is_taken(address).then(|| self.reservations.iter().find(|r| r.address == address)).flatten()
    }

    /// Whether a file stands for the address.
    pub(crate) fn is_taken(&self, address: IpAddr) -> bool {
        self.taken.contains(&address)
    }

    /// Counts an address as taken by somebody who came in between.
    pub(crate) fn insert(&mut self, reservation: Reservation) {
        self.taken.insert(reservation.address);
        self.reservations.push(reservation);
    }

    /// Takes the damaged reservations out, so that their addresses count as free.
    pub(crate) fn take_damaged(&mut self) -> Vec<Reservation> {
        let damaged: Vec<_> = self.reservations.extract_if(.., |r| r.holder == Holder::Nobody).collect();
        for reservation in &damaged {
            self.taken.remove(&reservation.address);
        }
        damaged
    }

    /// How full a set is. Files for addresses that it never gives out do not count.
    pub(crate) fn usage(&self, ranges: &RangeSet) -> Usage {
        let counts = |address: IpAddr| ranges.range_for(address).is_some_and(|range| range.role(address).is_none());
        let used = self.taken.iter().filter(|address| counts(**address)).count() as u128;
        Usage { ranges: ranges.clone(), capacity: ranges.capacity(), used }
    }
}

/// `None` when the file is gone.
fn read_holder(file: &Path, kind: io::Result<FileType>, buffer: &mut [u8; LONGEST]) -> Option<Holder> {
    match kind {
        // Opening a named pipe would block for ever.
        Ok(kind) if !kind.is_file() && !kind.is_symlink() => return Some(Holder::Foreign("not a file".to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        _ => {}
    }
    match File::open(file).and_then(|mut open| read_start(&mut open, buffer)) {
        Ok(LONGEST) => Some(Holder::Foreign(format!("{LONGEST} bytes or more"))),
        Ok(length) => Some(Holder::parse(&buffer[..length])),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => Some(Holder::Foreign(format!("unreadable: {error}"))),
    }
}

/// One read: of a regular file it returns all that fits.
fn read_start(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match file.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

/// Removes an address file. `false` when it was gone already.
pub(crate) fn remove(file: &Path) -> Result<bool, Error> {
    match fs::remove_file(file) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Error::io("remove", file)(error)),
    }
}
