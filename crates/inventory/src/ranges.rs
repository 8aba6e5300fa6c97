//! How full the ranges of a network are.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use crate::network::Network;
use crate::survey::Held;

/// How full one range is, and with what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RangeUse {
    /// `10.1.0.1-10.1.0.254`; empty for addresses that lie in no range of the configuration.
    pub range: String,
    /// The subnet; empty as `range`.
    pub subnet: String,
    /// How many addresses it can give out.
    pub capacity: u128,
    /// How many of them are reserved.
    pub used: u128,
    /// Addresses that are reserved, by verdict: alive, dead, unknown.
    pub verdicts: [u64; 3],
    /// The age of the oldest reservation.
    pub oldest: Option<Duration>,
    /// The first addresses that are free.
    pub first_free: Vec<IpAddr>,
}

impl RangeUse {
    /// How many addresses are left.
    pub fn free(&self) -> u128 {
        self.capacity.saturating_sub(self.used)
    }
}

/// How many free addresses are named of each range.
const FREE_NAMED: usize = 5;

impl Network {
    /// How its ranges are used. Last, where there are any, those in no range.
    pub fn use_of_ranges(&self, addresses: &[Held]) -> Vec<RangeUse> {
        let ranges: Vec<_> = self.sets.iter().flat_map(|sets| sets.iter()).flat_map(|set| set.ranges()).collect();
        let mut uses: Vec<RangeUse> = ranges
            .iter()
            .map(|range| RangeUse {
                range: range.to_string(),
                subnet: range.subnet().to_string(),
                capacity: range.capacity(),
                ..RangeUse::none()
            })
            .collect();
        uses.push(RangeUse::none());
        let mut taken = HashSet::with_capacity(addresses.len());
        for held in addresses {
            let address = held.reservation.address;
            taken.insert(address);
            let at = ranges.iter().position(|range| range.contains(address)).unwrap_or(ranges.len());
            let of = &mut uses[at];
            of.used += 1;
            of.verdicts[held.judgement.verdict as usize] += 1;
            of.oldest = of.oldest.max(held.age);
        }
        for (range, of) in ranges.iter().zip(&mut uses) {
            of.first_free = free(range).filter(|address| !taken.contains(address)).take(FREE_NAMED).collect();
        }
        if uses.last().is_some_and(|rest| rest.used == 0) {
            uses.pop();
        }
        uses
    }
}

impl RangeUse {
    fn none() -> RangeUse {
        let (range, subnet) = (String::new(), String::new());
        RangeUse { range, subnet, capacity: 0, used: 0, verdicts: [0; 3], oldest: None, first_free: Vec::new() }
    }
}

/// The addresses that a range gives out, in order.
fn free(range: &ipam::Range) -> impl Iterator<Item = IpAddr> {
    let end = range.end();
    std::iter::successors(Some(range.start()), move |address| (*address < end).then(|| next(*address)).flatten())
        .filter(|address| range.role(*address).is_none())
}

fn next(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(v4) => v4.to_bits().checked_add(1).map(|bits| Ipv4Addr::from_bits(bits).into()),
        IpAddr::V6(v6) => v6.to_bits().checked_add(1).map(|bits| Ipv6Addr::from_bits(bits).into()),
    }
}

#[cfg(test)]
mod tests {
    use ipam::{Attachment, Boot, Holder, Range, RangeSet, RangeSets, Reservation, Store};

    use super::*;
    use crate::verdict::{Judgement, Verdict};

    fn held(address: &str, verdict: Verdict, age: u64) -> Held {
        let address: IpAddr = address.parse().unwrap();
        let holder = Holder::Attachment(Attachment::new("c1", "eth0"));
        let file = address.to_string().into();
        Held {
            reservation: Reservation { address, holder, boot: Boot::This, file },
            written: None,
            age: Some(Duration::from_secs(age)),
            judgement: Judgement { verdict, proofs: Vec::new(), signs: Vec::new() },
        }
    }

    #[test]
    fn each_address_counts_in_its_range() {
        let range = |subnet: &str| Range::new(subnet.parse().unwrap(), None, None, None).unwrap();
        let set = |subnet: &str| RangeSet::new(vec![range(subnet)]).unwrap();
        let network = Network {
            name: "net".to_owned(),
            store: Store::new("/nonexistent".as_ref(), "net").unwrap(),
            sets: Some(RangeSets::new(vec![set("10.1.0.0/29"), set("fd00::/64")]).unwrap()),
            plugin: None,
            config: None,
        };
        let all = [
            held("10.1.0.2", Verdict::Alive, 5),
            held("10.1.0.4", Verdict::Dead, 70),
            held("fd00::2", Verdict::Unknown, 5),
            held("10.9.0.2", Verdict::Dead, 9),
        ];
        let uses = network.use_of_ranges(&all);
        let text: Vec<_> = uses.iter().map(|of| format!("{} {} {:?}", of.range, of.used, of.verdicts)).collect();
        assert_eq!(text[0], "10.1.0.1-10.1.0.6 2 [1, 1, 0]");
        assert!(text[1].starts_with("fd00::") && text[1].ends_with(" 1 [0, 0, 1]"), "{text:?}");
        assert_eq!(text[2], " 1 [0, 1, 0]");
        assert_eq!((uses[0].capacity, uses[0].free(), uses[0].oldest), (5, 3, Some(Duration::from_secs(70))));
        let named: Vec<_> = uses[0].first_free.iter().map(ToString::to_string).collect();
        assert_eq!(named, ["10.1.0.3", "10.1.0.5", "10.1.0.6"]);
        assert_eq!(uses[1].first_free[0].to_string(), "fd00::3");
        assert_eq!(network.use_of_ranges(&all[..1]).len(), 2, "nothing outside of the ranges is no range");
    }
}
