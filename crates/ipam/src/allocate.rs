//! Giving addresses to an attachment.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::mem;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use ipnetwork::IpNetwork;

use crate::attachment::{Attachment, Holder};
use crate::directory::{Directory, Reservation, remove};
use crate::error::Error;
use crate::plan::{Pick, Wish};
use crate::range_set::RangeSets;
use crate::reserve::{FILE_MODE, Outcome, reserve, withdraw};
use crate::store::Store;

/// What an attachment was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allocation {
    /// One address from each range set, in the sets' order.
    pub addresses: Vec<Assigned>,
    /// Damaged address files (empty or binary, as a power cut leaves them) that were removed on the way. Worth a line in
    /// the log: whoever they belonged to is not known.
    pub freed: Vec<PathBuf>,
}

/// An address with what its user has to know about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Assigned {
    /// The address, with the prefix length of its subnet.
    pub address: IpNetwork,
    /// The gateway of its range.
    pub gateway: IpAddr,
}

impl Store {
    /// Reserves one address from each range set for an attachment, all or none. A set gives the requested address that
    /// lies in it, else the next free one behind the last it gave out.
    ///
    /// # Errors
    /// [`Error::Duplicate`] if the attachment has an address of one of the sets already; the `Requested…` errors if
    /// a requested address cannot be had; [`Error::Full`]; [`Error::LockTimeout`]; [`Error::Io`]. After each of them
    /// the attachment has nothing that it did not have before.
    pub fn allocate(
        &self,
        attachment: &Attachment,
        sets: &RangeSets,
        requested: &[IpAddr],
    ) -> Result<Allocation, Error> {
        let wish = Wish::new(self, sets, requested)?;
        let _lock = self.lock_or_create()?;
        let mut directory = Directory::read(self.dir())?;
        self.refuse_duplicate(&directory, attachment, sets)?;
        let mut damaged = directory.take_damaged();
        let mut freed = Vec::new();
        let picks = loop {
            let picks = wish.choose(&directory, |set| self.last_reserved(set))?;
            // Only now, so that a call that fails changes nothing.
            let (removed, stuck) = remove_damaged(mem::take(&mut damaged));
            freed.extend(removed);
            if !stuck.is_empty() {
                stuck.into_iter().for_each(|reservation| directory.insert(reservation));
                continue;
            }
            match reserve(self.dir(), attachment, &addresses(&picks))? {
                Outcome::Reserved => break picks,
                // Somebody who does not lock came in between. Each round knows one more, so this ends.
                Outcome::Taken(address) => directory.insert(self.newcomer(address)),
            }
        };
        for (set, pick) in picks.iter().enumerate() {
            if let Err(error) = self.remember_last(set, pick.address) {
                withdraw(self.dir(), &addresses(&picks));
                return Err(error);
            }
        }
        Ok(Allocation { addresses: picks.iter().map(assigned).collect(), freed })
    }

    fn refuse_duplicate(&self, directory: &Directory, attachment: &Attachment, sets: &RangeSets) -> Result<(), Error> {
        let of_a_set = |r: &&Reservation| sets.iter().any(|set| set.range_for(r.address).is_some());
        match directory.held_by(attachment).into_iter().find(of_a_set) {
            None => Ok(()),
            Some(held) => Err(Error::Duplicate {
                network: self.network().to_owned(),
                attachment: attachment.clone(),
                address: held.address,
                file: held.file.clone(),
            }),
        }
    }

    fn newcomer(&self, address: IpAddr) -> Reservation {
        let file = self.dir().join(address.to_string());
        let holder = fs::read(&file).map_or(Holder::Nobody, |content| Holder::parse(&content));
        Reservation { address, holder, file }
    }

    /// The address a set gave out last. Anything that is none (damaged, absent) means: from the beginning.
    fn last_reserved(&self, set: usize) -> Option<IpAddr> {
        fs::read_to_string(self.last_reserved_file(set)).ok()?.trim().parse().ok()
    }

    /// Written in place, as the reference does: a reader takes a half-written one for no address or another, and either
    /// only costs the turn in the round. Not truncated first: ext4 then writes the data to the disk at once.
    fn remember_last(&self, set: usize, address: IpAddr) -> Result<(), Error> {
        let file = self.last_reserved_file(set);
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(FILE_MODE)
            .open(&file)
            .and_then(|mut open| {
                let text = address.to_string();
                open.write_all(text.as_bytes())?;
                let length = text.len() as u64;
                if open.metadata()?.len() > length { open.set_len(length) } else { Ok(()) }
            })
            .map_err(Error::io("write", &file))
    }

    fn last_reserved_file(&self, set: usize) -> PathBuf {
        self.dir().join(format!("last_reserved_ip.{set}"))
    }
}

fn addresses(picks: &[Pick]) -> Vec<IpAddr> {
    picks.iter().map(|pick| pick.address).collect()
}

fn assigned(pick: &Pick) -> Assigned {
    Assigned { address: pick.range.with_prefix(pick.address), gateway: pick.range.gateway() }
}

/// The files removed, and the reservations that would not go and so keep their addresses taken.
fn remove_damaged(damaged: Vec<Reservation>) -> (Vec<PathBuf>, Vec<Reservation>) {
    let (gone, stuck): (Vec<_>, Vec<_>) = damaged.into_iter().partition(|damaged| remove(&damaged.file).is_ok());
    (gone.into_iter().map(|reservation| reservation.file).collect(), stuck)
}
