//! Ranges that stand in for each other, and all the sets of a network.

use std::fmt;
use std::net::IpAddr;
use std::ops::Deref;

use crate::address::{from_bits, to_bits};
use crate::range::{Range, RangeError};

/// Ranges of one family, none overlapping another. An attachment gets one address from the set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RangeSet(Vec<Range>);

/// What is wrong with a range set, or with several together. Numbers count from 0, in the order given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RangeSetError {
    /// A range of the set is not consistent in itself.
    #[error(transparent)]
    Range(#[from] RangeError),
    /// A set without ranges.
    #[error("the range set is empty")]
    Empty,
    /// IPv4 and IPv6 in one set.
    #[error("{first} and {other} are of different address families: give each family a range set of its own")]
    MixedFamilies {
        /// The first range of the set.
        first: Box<Range>,
        /// The first range that differs from it.
        other: Box<Range>,
    },
    /// Two ranges of one set have an address in common.
    #[error("the ranges {first} and {other} overlap")]
    Overlap {
        /// One range.
        first: Box<Range>,
        /// The other.
        other: Box<Range>,
    },
    /// Two sets have an address in common.
    #[error("range set {first} ({first_ranges}) overlaps with range set {other} ({other_ranges})")]
    SetsOverlap {
        /// Number of one set.
        first: usize,
        /// Its ranges.
        first_ranges: RangeSet,
        /// Number of the other.
        other: usize,
        /// Its ranges.
        other_ranges: RangeSet,
    },
    /// No set at all.
    #[error("no IP ranges specified")]
    NoSets,
}

impl RangeSet {
    /// Checks ranges together.
    ///
    /// # Errors
    /// No range, both families, or two ranges with an address in common.
    pub fn new(ranges: Vec<Range>) -> Result<Self, RangeSetError> {
        let first = ranges.first().ok_or(RangeSetError::Empty)?;
        if let Some(other) = ranges.iter().find(|r| r.subnet().is_ipv4() != first.subnet().is_ipv4()) {
            return Err(RangeSetError::MixedFamilies { first: first.clone().into(), other: other.clone().into() });
        }
        if let Some((first, other)) = pairs(&ranges).find(|(a, b)| a.overlaps(b)) {
            return Err(RangeSetError::Overlap { first: first.clone().into(), other: other.clone().into() });
        }
        Ok(Self(ranges))
    }

    /// The ranges, in the order given.
    pub fn ranges(&self) -> &[Range] {
        &self.0
    }

    /// Whether this is a set of IPv4 ranges.
    pub fn is_ipv4(&self) -> bool {
        self.0.iter().all(|range| range.subnet().is_ipv4())
    }

    /// The range that the address lies in.
    pub fn range_for(&self, address: IpAddr) -> Option<&Range> {
        self.0.iter().find(|range| range.contains(address))
    }

    /// How many addresses the set can give out, stopping at `u128::MAX`.
    pub fn capacity(&self) -> u128 {
        self.0.iter().fold(0, |sum, range| sum.saturating_add(range.capacity()))
    }

    /// Whether the two have an address in common.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.0.iter().any(|a| other.0.iter().any(|b| a.overlaps(b)))
    }

    /// Every address that may be given out, each once, starting behind `last` and ending with it: round robin. From the
    /// beginning when `last` is not in the set (the config changed, or nothing was given out yet).
    pub(crate) fn candidates(&self, last: Option<IpAddr>) -> impl Iterator<Item = (IpAddr, &Range)> {
        let at = last.and_then(|last| {
            let index = self.0.iter().position(|range| range.contains(last))?;
            Some((index, to_bits(last)))
        });
        let whole = |range: &Range| to_bits(range.start())..=to_bits(range.end());
        let mut runs: Vec<_> = self.0.iter().map(|range| (range, whole(range))).collect();
        if let Some((index, last)) = at {
            let range = &self.0[index];
            runs.rotate_left(index);
            // Behind the end nothing is left, and at the very last IPv6 address `last + 1` would overflow.
            if last == to_bits(range.end()) {
                runs.remove(0);
            } else {
                runs[0].1 = last + 1..=to_bits(range.end());
            }
            runs.push((range, to_bits(range.start())..=last));
        }
        runs.into_iter()
            .flat_map(|(range, run)| run.map(move |bits| (from_bits(range.start(), bits), range)))
            .filter(|(address, range)| range.role(*address).is_none())
    }
}

impl fmt::Display for RangeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, range) in self.0.iter().enumerate() {
            let separator = if i == 0 { "" } else { "," };
            write!(f, "{separator}{range}")?;
        }
        Ok(())
    }
}

/// All range sets of a network, none overlapping another. An attachment gets one address from each. Their order counts:
/// it is the order of the addresses in a result, and names the `last_reserved_ip.<n>` files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RangeSets(Vec<RangeSet>);

impl RangeSets {
    /// Checks sets together.
    ///
    /// # Errors
    /// No set, or two sets with an address in common.
    pub fn new(sets: Vec<RangeSet>) -> Result<Self, RangeSetError> {
        if sets.is_empty() {
            return Err(RangeSetError::NoSets);
        }
        let numbered: Vec<_> = sets.iter().enumerate().collect();
        if let Some(((first, a), (other, b))) = pairs(&numbered).find(|((_, a), (_, b))| a.overlaps(b)) {
            let (first_ranges, other_ranges) = ((*a).clone(), (*b).clone());
            return Err(RangeSetError::SetsOverlap { first: *first, first_ranges, other: *other, other_ranges });
        }
        Ok(Self(sets))
    }
}

impl Deref for RangeSets {
    type Target = [RangeSet];

    fn deref(&self) -> &[RangeSet] {
        &self.0
    }
}

fn pairs<T>(items: &[T]) -> impl Iterator<Item = (&T, &T)> {
    items.iter().enumerate().flat_map(|(i, a)| items[i + 1..].iter().map(move |b| (a, b)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(text: &str) -> Range {
        let mut words = text.split(' ');
        let subnet = words.next().unwrap().parse().unwrap();
        let mut bound = || words.next().map(|word| word.parse().unwrap());
        Range::new(subnet, bound(), bound(), bound()).unwrap()
    }

    fn set(ranges: &[&str]) -> RangeSet {
        RangeSet::new(ranges.iter().map(|text| range(text)).collect()).unwrap()
    }

    fn order(set: &RangeSet, last: &str) -> Vec<String> {
        set.candidates(last.parse().ok()).map(|(address, _)| address.to_string()).collect()
    }

    #[test]
    fn round_robin_visits_each_once() {
        let set = set(&["10.1.0.0/29 10.1.0.1 10.1.0.4 10.1.0.1", "10.2.0.0/24 10.2.0.8 10.2.0.9"]);
        let from_start = ["10.1.0.2", "10.1.0.3", "10.1.0.4", "10.2.0.8", "10.2.0.9"];
        assert_eq!(order(&set, ""), from_start);
        assert_eq!(order(&set, "10.9.9.9"), from_start, "a last address outside of the set is ignored");
        assert_eq!(order(&set, "::1"), from_start);
        assert_eq!(order(&set, "10.1.0.3"), ["10.1.0.4", "10.2.0.8", "10.2.0.9", "10.1.0.2", "10.1.0.3"]);
        assert_eq!(order(&set, "10.1.0.4"), ["10.2.0.8", "10.2.0.9", "10.1.0.2", "10.1.0.3", "10.1.0.4"]);
        assert_eq!(order(&set, "10.2.0.9"), from_start);
        assert_eq!(order(&set, "10.2.0.8"), ["10.2.0.9", "10.1.0.2", "10.1.0.3", "10.1.0.4", "10.2.0.8"]);
    }

    #[test]
    fn ends_of_the_address_space_do_not_overflow() {
        let top = "ffff:ffff:ffff:ffff:ffff:ffff:ffff";
        let v6 = set(&[&format!("{top}:fffc/126")]);
        assert_eq!(order(&v6, &format!("{top}:ffff")), [format!("{top}:fffe"), format!("{top}:ffff")]);
        let v4 = set(&["255.255.255.252/30 255.255.255.252 255.255.255.255"]);
        assert_eq!(order(&v4, "255.255.255.255"), ["255.255.255.254"]);
    }

    #[test]
    fn sets_are_checked() {
        let new = |ranges: &[&str]| RangeSet::new(ranges.iter().map(|text| range(text)).collect());
        assert_eq!(new(&[]), Err(RangeSetError::Empty));
        let mixed = new(&["10.1.0.0/24", "2001:db8::/64"]).unwrap_err().to_string();
        assert!(mixed.contains("different address families"), "{mixed}");
        let overlap = new(&["10.1.0.0/16", "10.1.9.0/24"]).unwrap_err().to_string();
        assert!(overlap.contains("10.1.9.1-10.1.9.254 overlap"), "{overlap}");
        assert!(new(&["10.1.0.0/24 10.1.0.1 10.1.0.9", "10.1.0.0/24 10.1.0.10"]).is_ok(), "one subnet, two parts");
    }

    #[test]
    fn sets_do_not_overlap() {
        assert_eq!(RangeSets::new(vec![]), Err(RangeSetError::NoSets));
        let sets = vec![set(&["10.1.0.0/24"]), set(&["2001:db8::/64"]), set(&["10.0.0.0/24", "10.1.0.128/25"])];
        let error = RangeSets::new(sets).unwrap_err().to_string();
        assert!(error.starts_with("range set 0 (10.1.0.1-10.1.0.254) overlaps with range set 2"), "{error}");
    }
}
