//! What a network's directory says: the one place that reads address files.
//!
//! [`Directory`] opens and reads every file: what [`View`](crate::view::View) does where no index is current.

use std::collections::HashSet;
use std::fs::{self, File, FileType, OpenOptions};
use std::io::{self, Read};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use crate::attachment::{Attachment, Holder};
use crate::boot::{Boot, Mark};
use crate::error::Error;
use crate::reserve::TEMPORARY;

/// More than any reservation holds: container IDs have at most a few hundred bytes.
const LONGEST: usize = 4096;

/// One address that somebody has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservation {
    /// The address.
    pub address: IpAddr,
    /// Who has it.
    pub holder: Holder,
    /// When it was made.
    pub boot: Boot,
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
    pub(crate) fn read(dir: &Path, mark: Option<&Mark>) -> Result<Self, Error> {
        let mut found = Self { reservations: Vec::new(), taken: HashSet::new(), temporary: None };
        let entries = match fs::read_dir(dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
            Err(error) => return Err(Error::io("list the addresses in", dir)(error)),
        };
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
            found.reservations.extend(read_file(address, entry.path(), entry.file_type(), mark));
        }
        found.taken = found.reservations.iter().map(|reservation| reservation.address).collect();
        Ok(found)
    }

    /// All reservations, in no order.
    pub(crate) fn reservations(&self) -> &[Reservation] {
        &self.reservations
    }

    /// The same, for good.
    pub(crate) fn into_reservations(self) -> Vec<Reservation> {
        self.reservations
    }

    /// The reservations that stand for an attachment. An old file with the container ID alone counts only where the
    /// attachment has none of its own, as in the reference.
    pub(crate) fn held_by(&self, attachment: &Attachment) -> Vec<Reservation> {
        let matching = || self.reservations.iter().filter(|r| r.holder.is(attachment)).cloned();
        let own: Vec<_> = matching().filter(|r| matches!(r.holder, Holder::Attachment(_))).collect();
        if own.is_empty() { matching().collect() } else { own }
    }

    /// Whether a file stands for the address.
    pub(crate) fn is_taken(&self, address: IpAddr) -> bool {
        self.taken.contains(&address)
    }

    /// Every address that a file stands for.
    pub(crate) fn taken(&self) -> impl Iterator<Item = IpAddr> {
        self.taken.iter().copied()
    }

    /// Who has which address.
    pub(crate) fn holders(&self) -> impl Iterator<Item = (&Holder, IpAddr)> {
        self.reservations.iter().map(|reservation| (&reservation.holder, reservation.address))
    }

    /// How many reservations are damaged, and how many of an earlier boot.
    pub(crate) fn dead(&self) -> (u32, u32) {
        let count = |is: fn(&Reservation) -> bool| self.reservations.iter().filter(|r| is(r)).count() as u32;
        (count(Reservation::is_damaged), count(|r| r.boot == Boot::Earlier))
    }

    /// Notes a reservation that was made.
    pub(crate) fn insert(&mut self, reservation: Reservation) {
        self.taken.insert(reservation.address);
        self.reservations.push(reservation);
    }

    /// Takes the reservations out that are `dead`, so that their addresses count as free.
    pub(crate) fn take_out(&mut self, dead: impl Fn(&Reservation) -> bool) -> Vec<Reservation> {
        let out: Vec<_> = self.reservations.extract_if(.., |reservation| dead(reservation)).collect();
        if !out.is_empty() {
            self.taken = self.reservations.iter().map(|reservation| reservation.address).collect();
        }
        out
    }
}

impl Reservation {
    /// Whether nobody can be made out as its holder: what a power cut leaves.
    pub(crate) fn is_damaged(&self) -> bool {
        self.holder == Holder::Nobody
    }
}

/// Reads the address file of one address; `None` where there is none.
pub(crate) fn read_one(dir: &Path, address: IpAddr, mark: &Mark) -> Option<Reservation> {
    let file = dir.join(address.to_string());
    let kind = fs::symlink_metadata(&file).map(|meta| meta.file_type());
    read_file(address, file, kind, Some(mark))
}

/// `None` when the file is gone.
fn read_file(address: IpAddr, file: PathBuf, kind: io::Result<FileType>, mark: Option<&Mark>) -> Option<Reservation> {
    let (holder, boot) = match kind {
        // Opening a named pipe would block for ever.
        Ok(kind) if !kind.is_file() && !kind.is_symlink() => (Holder::Foreign("not a file".to_owned()), Boot::Unknown),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        kind => match read_holder(&file, mark) {
            Ok(read) => read,
            // The name is taken all the same.
            Err(error) if error.kind() == io::ErrorKind::NotFound && kind.is_ok_and(|kind| kind.is_symlink()) => {
                (Holder::Foreign("a link that leads nowhere".to_owned()), Boot::Unknown)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => (Holder::Foreign(format!("unreadable: {error}")), Boot::Unknown),
        },
    };
    Some(Reservation { address, holder, boot, file })
}

fn read_holder(file: &Path, mark: Option<&Mark>) -> io::Result<(Holder, Boot)> {
    // A link may lead to a pipe, which would be waited for.
    let mut open = OpenOptions::new().read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(file)?;
    let mut buffer = [0; LONGEST];
    let length = read_start(&mut open, &mut buffer)?;
    if length == LONGEST {
        return Ok((Holder::Foreign(format!("{LONGEST} bytes or more")), Boot::Unknown));
    }
    Ok((Holder::parse(&buffer[..length]), mark.map_or(Boot::Unknown, |mark| mark.compare(&open))))
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
