//! Choosing addresses. Decides everything before anything is written.

use std::net::IpAddr;

use crate::error::Error;
use crate::range::Range;
use crate::range_set::{RangeSet, RangeSets};
use crate::store::Store;
use crate::view::View;

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

    /// Chooses one address from each set: the one asked for, else one of `own`, which the attachment has or had, else the
    /// next free one behind `last` (given the number of the set, the address it gave out last).
    pub(crate) fn choose(
        &self,
        view: &View,
        own: &[IpAddr],
        last: impl Fn(usize) -> Option<IpAddr>,
    ) -> Result<Vec<Pick<'a>>, Error> {
        let is_free = |address: IpAddr| own.contains(&address) || !view.is_taken(address);
        let sets: &'a [RangeSet] = self.sets;
        sets.iter()
            .enumerate()
            .map(|(set, ranges)| {
                if let Some(pick) = self.requested[set] {
                    return if is_free(pick.address) { Ok(pick) } else { Err(self.taken(pick.address)) };
                }
                let given = |address: &IpAddr| Some((*address, ranges.range_for(*address)?));
                let given = own.iter().filter_map(given).find(|(address, range)| range.role(*address).is_none());
                given
                    .or_else(|| ranges.candidates(last(set)).find(|(address, _)| is_free(*address)))
                    .map(|(address, range)| Pick { address, range })
                    .ok_or_else(|| self.store.full(set, view.usage(ranges)))
            })
            .collect()
    }

    fn taken(&self, address: IpAddr) -> Error {
        let (holder, file) = self.store.holder_of(address);
        Error::RequestedTaken { network: self.store.network().to_owned(), address, holder, file }
    }
}
