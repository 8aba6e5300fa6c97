//! Making reservations visible, whole and all together.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use crate::attachment::Attachment;
use crate::boot::Mark;
use crate::directory::remove;
use crate::error::Error;

/// Where a reservation is written before it is given its name. One name is enough, since only the holder of the lock
/// writes, and a left-over is found without a search. To the reference it is no address; its content is that of the
/// reservation, so the reference's DEL for the same attachment removes a left-over, too.
pub(crate) const TEMPORARY: &str = ".podlink-new";

/// Mode of every file but the lock, less the umask: the reference's.
pub(crate) const FILE_MODE: u32 = 0o644;

/// What came of an attempt to reserve.
pub(crate) enum Outcome {
    /// The addresses are the attachment's.
    Reserved,
    /// Nothing is reserved: somebody has one of the addresses by now.
    Taken,
}

/// Reserves all addresses for the attachment, or none. Needs the lock.
///
/// Each gets a file of its own, although the contents are equal: somebody who edits one in place must not edit all.
pub(crate) fn reserve(
    dir: &Path,
    attachment: &Attachment,
    addresses: &[IpAddr],
    mark: Option<&Mark>,
) -> Result<Outcome, Error> {
    let content = attachment.file_content();
    for (done, address) in addresses.iter().enumerate() {
        let outcome = reserve_one(dir, content.as_bytes(), *address, mark);
        if !matches!(outcome, Ok(Outcome::Reserved)) {
            withdraw(dir, &addresses[..done]);
            return outcome;
        }
    }
    Ok(Outcome::Reserved)
}

fn reserve_one(dir: &Path, content: &[u8], address: IpAddr, mark: Option<&Mark>) -> Result<Outcome, Error> {
    let (temporary, file) = (dir.join(TEMPORARY), dir.join(address.to_string()));
    let outcome = match write_new(&temporary, content, mark).map_err(Error::io("write the reservation", &temporary)) {
        Ok(()) => match rename_new(&temporary, &file) {
            Ok(()) => return Ok(Outcome::Reserved),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(Outcome::Taken),
            Err(error) => Err(Error::io("give the reservation its name", &file)(error)),
        },
        Err(error) => Err(error),
    };
    // If this fails the next call does it.
    let _ = remove(&temporary);
    outcome
}

/// Renames, but never over a file that is there.
fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // A file system that cannot (NFS, some FUSE ones): two steps that come to the same.
        Err(Errno::INVAL | Errno::NOSYS) => {
            fs::hard_link(from, to)?;
            // Reserved it is; a left-over is swept by the next call.
            let _ = remove(from);
            Ok(())
        }
        other => Ok(other?),
    }
}

/// Takes back what `reserve` has just made. What cannot be removed stays owned by the attachment, whose DEL removes it.
pub(crate) fn withdraw(dir: &Path, addresses: &[IpAddr]) {
    for address in addresses {
        let _ = remove(&dir.join(address.to_string()));
    }
}

fn write_new(path: &Path, content: &[u8], mark: Option<&Mark>) -> io::Result<()> {
    // Never open a left-over for writing: it may be linked to a live reservation already.
    let create = || OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(path);
    let mut file = match create() {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            fs::remove_file(path)?;
            create()?
        }
        other => other?,
    };
    if let Some(mark) = mark {
        mark.put_on(&file);
    }
    file.write_all(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_cannot_be_had_takes_back_the_others() {
        let dir = tempfile::tempdir().unwrap();
        let addresses = ["10.1.0.2", "2001:db8::2", "10.2.0.2"].map(|text| text.parse().unwrap());
        fs::write(dir.path().join("2001:db8::2"), "other\r\neth0").unwrap();
        let outcome = reserve(dir.path(), &Attachment::new("c1", "eth0"), &addresses, None);
        assert!(matches!(outcome, Ok(Outcome::Taken)));
        let names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["2001:db8::2"]);
        assert_eq!(fs::read(dir.path().join("2001:db8::2")).unwrap(), b"other\r\neth0");
    }
}
