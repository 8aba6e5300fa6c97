//! What a network's directory says right now, from the index where it is current, else from the files.

use std::collections::HashSet;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use crate::attachment::{Attachment, Holder};
use crate::boot::{Boot, Mark};
use crate::directory::{Directory, Reservation, read_one, remove};
use crate::error::Error;
use crate::index::{Index, Stale};
use crate::range::Range;
use crate::range_set::RangeSet;
use crate::store::Usage;

/// One moment's state. Whoever changes the directory under the lock says so here, and in the end calls [`View::seal`].
#[derive(Debug)]
pub(crate) struct View<'a> {
    dir: &'a Path,
    mark: Option<Mark>,
    source: Source,
    changed: bool,
    /// Files removed since they were read.
    gone: HashSet<PathBuf>,
    /// A change could not be noted in the index.
    broken: bool,
}

#[derive(Debug)]
enum Source {
    Index(Index),
    Files(Directory),
}

impl<'a> View<'a> {
    /// Looks at a directory.
    pub(crate) fn open(dir: &'a Path) -> Result<Self, Error> {
        let mark = Mark::current();
        let source = match mark.as_ref().map(|mark| Index::open(dir, mark)) {
            Some(Ok(index)) => Source::Index(index),
            None | Some(Err(Stale)) => Source::Files(Directory::read(dir, mark.as_ref())?),
        };
        Ok(Self { dir, mark, source, changed: false, gone: HashSet::new(), broken: false })
    }

    /// Reads the files, whatever the index says.
    pub(crate) fn read_files(&mut self) -> Result<(), Error> {
        self.source = Source::Files(Directory::read(self.dir, self.mark.as_ref())?);
        Ok(())
    }

    /// What to put on a reservation that is made now.
    pub(crate) fn mark(&self) -> Option<&Mark> {
        self.mark.as_ref()
    }

    /// Whether nobody has changed anything meanwhile, as far as the index can tell. For those who do not have the lock.
    pub(crate) fn is_current(&self) -> bool {
        match &self.source {
            Source::Index(index) => index.is_current(self.dir),
            Source::Files(_) => true,
        }
    }

    /// All reservations, from the files.
    pub(crate) fn reservations(&mut self) -> Result<Vec<Reservation>, Error> {
        let directory = Directory::read(self.dir, self.mark.as_ref())?;
        let all = directory.reservations().to_vec();
        self.source = Source::Files(directory);
        Ok(all)
    }

    /// Removes the temporary file of a process that was killed, where one was seen. Needs the lock.
    pub(crate) fn remove_left_over(&self) -> Result<(), Error> {
        match &self.source {
            Source::Files(directory) => remove_left_over(directory),
            Source::Index(_) => Ok(()),
        }
    }

    /// Takes out the reservations that nobody can be using, so that their addresses count as free: damaged ones, and where
    /// `earlier` is, those of an earlier boot. Leaves out the addresses in `stuck`.
    pub(crate) fn take_dead(&mut self, earlier: bool, stuck: &[IpAddr]) -> Result<Vec<Reservation>, Error> {
        if let Source::Index(index) = &self.source {
            let (damaged, of_earlier) = index.dead();
            if damaged == 0 && (of_earlier == 0 || !earlier) {
                return Ok(Vec::new());
            }
            self.read_files()?;
        }
        let Source::Files(directory) = &mut self.source else { return Ok(Vec::new()) };
        let is_dead = |r: &Reservation| r.is_damaged() || (earlier && r.boot == Boot::Earlier);
        Ok(directory.take_out(|reservation| is_dead(reservation) && !stuck.contains(&reservation.address)))
    }

    /// The reservations that stand for an attachment.
    pub(crate) fn held_by(&mut self, attachment: &Attachment) -> Result<Vec<Reservation>, Error> {
        if let (Source::Index(index), Some(mark)) = (&self.source, &self.mark) {
            match found(index, self.dir, attachment, mark) {
                Ok(held) => return Ok(held),
                Err(Stale) => self.read_files()?,
            }
        }
        let Source::Files(directory) = &self.source else { return Ok(Vec::new()) };
        Ok(directory.held_by(attachment))
    }

    /// Whether a file stands for the address.
    pub(crate) fn is_taken(&self, address: IpAddr) -> bool {
        match &self.source {
            Source::Index(index) => index.is_taken(address),
            Source::Files(directory) => directory.is_taken(address),
        }
    }

    /// How full a set is. Files for addresses that it never gives out do not count.
    pub(crate) fn usage(&self, ranges: &RangeSet) -> Usage {
        let counts = |address: &IpAddr| ranges.range_for(*address).is_some_and(|range| range.role(*address).is_none());
        let used = match &self.source {
            Source::Index(index) => {
                let in_ranges: usize =
                    ranges.ranges().iter().map(|range| index.count(range.start(), range.end())).sum();
                in_ranges - ranges.ranges().iter().map(|range| never_given(range, index)).sum::<usize>()
            }
            Source::Files(directory) => directory.taken().filter(counts).count(),
        };
        Usage { ranges: ranges.clone(), capacity: ranges.capacity(), used: used as u128 }
    }

    /// Notes that the attachment was given an address.
    pub(crate) fn given(&mut self, attachment: &Attachment, address: IpAddr) {
        let holder = Holder::Attachment(attachment.clone());
        self.changed = true;
        match &mut self.source {
            Source::Index(index) => self.broken |= index.add(&holder, address).is_err(),
            Source::Files(directory) => {
                let file = self.dir.join(address.to_string());
                self.gone.remove(&file);
                directory.insert(Reservation { address, holder, boot: Boot::This, file });
            }
        }
    }

    /// Notes that a reservation was removed.
    pub(crate) fn removed(&mut self, reservation: &Reservation) {
        self.changed = true;
        match &mut self.source {
            Source::Index(index) => {
                self.broken |= index.remove(&reservation.holder, reservation.address).is_err();
            }
            Source::Files(_) => drop(self.gone.insert(reservation.file.clone())),
        }
    }

    /// Leaves an index that is current. To be called under the lock, after the last change. Without an index all goes on as
    /// well, and slower.
    pub(crate) fn seal(mut self) {
        let Some(mark) = &self.mark else { return };
        let sealed = match &mut self.source {
            Source::Index(_) if self.broken => Err(Stale),
            Source::Index(index) if self.changed => index.seal(self.dir),
            Source::Index(_) => Ok(()),
            Source::Files(directory) => {
                // A DEL does not fail for what another attachment's ADD left.
                let _ = remove_left_over(directory);
                directory.take_out(|reservation| self.gone.contains(&reservation.file));
                Index::build(self.dir, mark, directory)
            }
        };
        if sealed.is_err() {
            Index::discard(self.dir);
        }
    }
}

/// How many addresses of the range are taken that it never gives out.
fn never_given(range: &Range, index: &Index) -> usize {
    let subnet = range.subnet();
    let special: HashSet<_> = [range.gateway(), subnet.network(), subnet.broadcast()].into();
    let is_in = |address: &&IpAddr| range.contains(**address) && range.role(**address).is_some();
    special.iter().filter(is_in).filter(|address| index.is_taken(**address)).count()
}

/// Under the lock a temporary file is always one that a killed process left.
fn remove_left_over(directory: &Directory) -> Result<(), Error> {
    directory.temporary.as_deref().map_or(Ok(()), |file| remove(file).map(drop))
}

/// What the index finds, where the files agree.
fn found(index: &Index, dir: &Path, attachment: &Attachment, mark: &Mark) -> Result<Vec<Reservation>, Stale> {
    let read =
        |address| read_one(dir, address, mark).filter(|reservation| reservation.holder.is(attachment)).ok_or(Stale);
    index.find(attachment)?.into_iter().map(read).collect()
}

#[cfg(test)]
mod tests;
