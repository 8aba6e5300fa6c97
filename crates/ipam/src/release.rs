//! Taking addresses back.

use std::collections::HashSet;
use std::net::IpAddr;

use crate::attachment::{Attachment, Holder};
use crate::directory::{Reservation, remove};
use crate::error::Error;
use crate::store::Store;
use crate::view::View;

/// What [`Store::gc`] did.
#[derive(Debug, Default)]
pub struct Collected {
    /// The reservations that were released.
    pub released: Vec<Reservation>,
    /// Those that should have been and are still there.
    pub failures: Vec<Error>,
}

impl Store {
    /// Releases everything an attachment holds, in whatever range it lies, and returns the addresses, sorted. Nothing
    /// held, or no directory at all, is success and creates nothing.
    ///
    /// # Errors
    /// [`Error::LockTimeout`]; [`Error::Io`] for the first file that could not be removed, after trying the others.
    pub fn release(&self, attachment: &Attachment) -> Result<Vec<IpAddr>, Error> {
        let Some(_lock) = self.lock()? else { return Ok(Vec::new()) };
        let mut view = View::open(self.dir())?;
        let mut released = Vec::new();
        let mut failure = None;
        for reservation in view.held_by(attachment)? {
            match remove(&reservation.file) {
                Ok(_) => {
                    view.removed(&reservation);
                    released.push(reservation.address);
                }
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        view.seal();
        released.sort_unstable();
        failure.map_or(Ok(released), Err)
    }

    /// Releases every reservation whose attachment is not among the valid ones, and damaged files. An old file with a
    /// container ID alone stays while any attachment of that container is valid; files that no CNI plugin wrote stay.
    /// An empty list means that none is valid. Goes on after failures and returns them.
    ///
    /// # Errors
    /// When nothing could be looked at: [`Error::LockTimeout`], [`Error::Io`].
    pub fn gc(&self, valid: &[Attachment]) -> Result<Collected, Error> {
        let mut collected = Collected::default();
        let Some(_lock) = self.lock()? else { return Ok(collected) };
        let attachments: HashSet<&Attachment> = valid.iter().collect();
        let containers: HashSet<&str> = valid.iter().map(Attachment::container_id).collect();
        let keep = |reservation: &Reservation| match &reservation.holder {
            Holder::Attachment(attachment) => attachments.contains(attachment),
            Holder::Container(id) => containers.contains(id.as_str()),
            Holder::Foreign(_) => true,
            Holder::Nobody => false,
        };
        let mut view = View::open(self.dir())?;
        let all = view.reservations()?;
        collected.failures.extend(view.remove_left_over().err());
        for reservation in all.into_iter().filter(|reservation| !keep(reservation)) {
            match remove(&reservation.file) {
                Ok(_) => {
                    view.removed(&reservation);
                    collected.released.push(reservation);
                }
                Err(error) => collected.failures.push(error),
            }
        }
        view.seal();
        collected.released.sort_unstable_by_key(|reservation| reservation.address);
        Ok(collected)
    }
}
