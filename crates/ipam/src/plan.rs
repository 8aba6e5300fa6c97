//! Choosing addresses. Decides everything before anything is written.

use std::net::IpAddr;

use crate::directory::Directory;
use crate::error::Error;
use crate::range::Range;
use crate::range_set::{RangeSet, RangeSets};
use crate::store::Store;

/// The address chosen from one set.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pick<'a> {
    pub(crate) address: IpAddr,
    pub(crate) range: &'a Range,
}

/// What one attachment of a network wants.
pub(crate) struct Wish<'a> {
    store: &'a Store,
    sets: &'a RangeSets,
    /// For each set, the address asked for.
    requested: Vec<Option<Pick<'a>>>,
}

impl<'a> Wish<'a> {
    /// Sorts the requested addresses into the sets: each must fit one, and a set can serve one. The same address
    /// twice counts once.
    pub(crate) fn new(store: &'a Store, sets: &'a RangeSets, requested: &[IpAddr]) -> Result<Self, Error> {
        let network = || store.network().to_owned();
        let mut sorted: Vec<Option<Pick>> = vec![None; sets.len()];
        let mut outside = Vec::new();
        for &address in requested {
            let fitting = |(set, ranges): (usize, &'a RangeSet)| Some((set, ranges.range_for(address)?));
            let Some((set, range)) = sets.iter().enumerate().find_map(fitting) else {
                outside.push(address);
                continue;
            };
            match sorted[set] {
                Some(Pick { address: first, .. }) if first != address => {
                    let (network, ranges) = (network(), sets[set].clone());
                    return Err(Error::RequestedTwice { network, first, second: address, set, ranges });
                }
                _ => sorted[set] = Some(Pick { address, range }),
            }
            if let Some(role) = range.role(address) {
                return Err(Error::RequestedRole { network: network(), address, role });
            }
        }
        if !outside.is_empty() {
            return Err(Error::RequestedOutside { network: network(), addresses: outside, sets: sets.to_vec() });
        }
        Ok(Self { store, sets, requested: sorted })
    }

    /// Chooses one address from each set: the one asked for, else the next free one behind `last` (given the number of
    /// the set, the address it gave out last).
    pub(crate) fn choose(
        &self,
        directory: &Directory,
        last: impl Fn(usize) -> Option<IpAddr>,
    ) -> Result<Vec<Pick<'a>>, Error> {
        let sets: &'a [RangeSet] = self.sets;
        sets.iter()
            .enumerate()
            .map(|(set, ranges)| match self.requested[set] {
                Some(pick) => self.check_free(pick, directory),
                None => ranges
                    .candidates(last(set))
                    .find(|(address, _)| !directory.is_taken(*address))
                    .map(|(address, range)| Pick { address, range })
                    .ok_or_else(|| self.store.full(set, directory.usage(ranges))),
            })
            .collect()
    }

    fn check_free(&self, pick: Pick<'a>, directory: &Directory) -> Result<Pick<'a>, Error> {
        match directory.reservation(pick.address) {
            None => Ok(pick),
            Some(taken) => Err(Error::RequestedTaken {
                network: self.store.network().to_owned(),
                address: pick.address,
                holder: taken.holder.clone(),
                file: taken.file.clone(),
            }),
        }
    }
}
