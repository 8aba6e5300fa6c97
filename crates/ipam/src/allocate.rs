//! Giving addresses to an attachment.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use ipnetwork::IpNetwork;

use crate::attachment::{Attachment, Holder};
use crate::boot::Boot;
use crate::directory::{Reservation, remove};
use crate::error::Error;
use crate::plan::{Pick, Wish};
use crate::range_set::RangeSets;
use crate::reserve::{FILE_MODE, Outcome, reserve, withdraw};
use crate::store::Store;
use crate::view::View;

/// What an attachment was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allocation {
    /// One address from each range set, in the sets' order.
    pub addresses: Vec<Assigned>,
    /// Reservations that were removed on the way: damaged ones (empty or binary, as a power cut leaves them), those of an
    /// earlier boot, what the attachment itself had before and did not get again. Worth a line in the log.
    pub freed: Vec<Reservation>,
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
    /// lies in it, else the next free one behind the last it gave out. What an earlier boot of this node left is free again
    /// ([`Store::keep_earlier_boots`] turns that off), and an attachment that had an address then gets the same.
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
        self.give(attachment, sets, requested, |_| false)
    }

    /// The same for a caller with proof that no interface of this attachment was in use when it called, such as having just
    /// made it under a name that only it can have: what the attachment holds since this boot, an ADD that was killed or a pod
    /// that was never deleted left it, and it gets the same address again.
    ///
    /// # Errors
    /// As [`Store::allocate`]; [`Error::Duplicate`] only where a reservation may be by somebody who does not give such proof.
    pub fn allocate_again(
        &self,
        attachment: &Attachment,
        sets: &RangeSets,
        requested: &[IpAddr],
    ) -> Result<Allocation, Error> {
        self.give(attachment, sets, requested, |held| held.boot == Boot::This)
    }

    fn give(
        &self,
        attachment: &Attachment,
        sets: &RangeSets,
        requested: &[IpAddr],
        is_left_over: impl Fn(&Reservation) -> bool,
    ) -> Result<Allocation, Error> {
        let wish = Wish::new(self, sets, requested)?;
        let _lock = self.lock_or_create()?;
        let mut view = View::open(self.dir())?;
        let mut freed = Vec::new();
        let mut stuck = Vec::new();
        loop {
            let mut dead = view.take_dead(!self.keeps_earlier_boots(), &stuck)?;
            let mut own = view.held_by(attachment)?;
            own.retain(|held| sets.iter().any(|set| set.range_for(held.address).is_some()));
            if let Some(held) = own.iter().find(|held| !is_left_over(held)) {
                return Err(self.duplicate(attachment, held));
            }
            let had: Vec<_> =
                own.iter().chain(dead.iter().filter(|r| r.holder.is(attachment))).map(|r| r.address).collect();
            let picks = wish.choose(&view, &had, |set| self.last_reserved(set))?;
            // Only now, so that a call that fails changes nothing.
            let (kept, surplus): (Vec<_>, Vec<_>) =
                own.into_iter().partition(|held| picks.iter().any(|pick| pick.address == held.address));
            dead.extend(surplus);
            for reservation in dead {
                match remove(&reservation.file) {
                    Ok(_) => {
                        view.removed(&reservation);
                        freed.push(reservation);
                    }
                    Err(_) => stuck.push(reservation.address),
                }
            }
            let wanted = picks.iter().map(|pick| pick.address);
            let new: Vec<_> = wanted.filter(|address| kept.iter().all(|held| held.address != *address)).collect();
            if new.iter().any(|address| stuck.contains(address)) {
                view.read_files()?;
                continue;
            }
            if let Outcome::Taken = reserve(self.dir(), attachment, &new, view.mark())? {
                // Somebody who does not lock came in between. Each round knows one more, so this ends.
                view.read_files()?;
                continue;
            }
            for (set, pick) in picks.iter().enumerate() {
                if let Err(error) = self.remember_last(set, pick.address) {
                    withdraw(self.dir(), &new);
                    return Err(error);
                }
            }
            new.iter().for_each(|address| view.given(attachment, *address));
            // What could not be removed was counted as free here: the next call looks at it anew.
            if stuck.is_empty() {
                view.seal();
            }
            freed.sort_unstable_by_key(|reservation: &Reservation| reservation.address);
            return Ok(Allocation { addresses: picks.iter().map(assigned).collect(), freed });
        }
    }

    fn duplicate(&self, attachment: &Attachment, held: &Reservation) -> Error {
        Error::Duplicate {
            network: self.network().to_owned(),
            attachment: attachment.clone(),
            address: held.address,
            file: held.file.clone(),
        }
    }

    /// Who has an address, for a message.
    pub(crate) fn holder_of(&self, address: IpAddr) -> (Holder, PathBuf) {
        let file = self.dir().join(address.to_string());
        (fs::read(&file).map_or(Holder::Nobody, |content| Holder::parse(&content)), file)
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

fn assigned(pick: &Pick) -> Assigned {
    Assigned { address: pick.range.with_prefix(pick.address), gateway: pick.range.gateway() }
}
