//! The limit on one device: set, and compared with what there is.

use std::time::Duration;

use cni::Error;
use ipnetwork::IpNetwork;
use netlink::{Filter, Handle, HtbClass, Link, Netlink, Qdisc, Rate, Side, SubnetFilter};
use pod::{Explain, drift};

use crate::config::{Config, Limit, Subnets};

/// The numbers the reference uses.
const QDISC: Handle = Handle { major: 1, minor: 0 };
const UNLIMITED: Handle = Handle { major: 1, minor: 1 };
const LIMITED: Handle = Handle { major: 1, minor: 0x30 };
const QUEUE: Handle = Handle { major: 0x30, minor: 0 };
/// A rate no veth reaches (the reference's), with a burst for which no timer has to run.
const NO_LIMIT: Rate = Rate { bytes_per_second: 100_000_000_000, burst: 1_000_000_000 };

/// The burst where nobody chose one: so much time at full rate, so that a late timer costs nothing, but one of the
/// largest packets (GSO) at least. As the queue has room for the burst, none of them loses its tail, for which a TCP
/// sender waits 200 ms.
const DEFAULT_BURST: Duration = Duration::from_millis(20);
const MIN_DEFAULT_BURST: u32 = GSO_MAX;
/// The largest packet that the kernel hands to a device to be split (`GSO_LEGACY_MAX_SIZE`).
const GSO_MAX: u32 = 65_536;
/// What comes before a packet of full MTU: an Ethernet header with a VLAN tag.
const FRAME_HEADER: u32 = 18;

/// tbf splits large packets (GSO), htb's queue takes them whole or drops them: it needs room for two of the largest.
const MIN_HTB_QUEUE: u32 = 2 * GSO_MAX;

/// A limit for one device.
#[derive(Debug, PartialEq, Eq)]
pub struct Shaper<'a> {
    rate: Rate,
    /// How many bytes may wait.
    queue: u32,
    subnets: &'a Subnets,
    remote: Side,
}

impl<'a> Shaper<'a> {
    /// For a device with this MTU, where the pod's far ends are at `remote` of a packet.
    ///
    /// A burst smaller than one packet would stop all traffic; it is raised, with a note that names `burst_key`.
    pub fn new(burst_key: &str, limit: &Limit, config: &'a Config, remote: Side, mtu: u32) -> Shaper<'a> {
        let packet = mtu.saturating_add(FRAME_HEADER);
        let burst = match limit.burst {
            None => default_burst(limit.rate, packet),
            Some(burst) if burst < packet => {
                cni::note(format_args!(
                    "{burst_key}: {} bits is less than one packet of mtu {mtu}, which could never be sent; \
                     using {} bits",
                    u64::from(burst) * 8,
                    u64::from(packet) * 8
                ));
                packet
            }
            Some(burst) => burst,
        };
        let rate = Rate { bytes_per_second: limit.rate, burst };
        let waiting = bytes_in(limit.rate, config.latency).saturating_add(burst.into());
        Shaper { rate, queue: saturated(waiting), subnets: &config.subnets, remote }
    }

    /// Puts the limit on `link`, in place of any other.
    ///
    /// # Errors
    /// The kernel's.
    pub fn apply(&self, host: &Netlink, link: &Link) -> Result<(), Error> {
        self.set(host, link.index).explain(format_args!("limiting {}", link.name))
    }

    fn set(&self, host: &Netlink, index: u32) -> Result<(), netlink::Error> {
        let Some((default, class, subnets)) = self.exceptions() else {
            let bucket = Qdisc::TokenBucket { rate: self.rate, limit: self.queue };
            return host.set_qdisc(index, Handle::ROOT, QDISC, &bucket);
        };
        host.set_qdisc(index, Handle::ROOT, QDISC, &Qdisc::Htb { default_class: default.minor })?;
        host.set_class(index, &HtbClass { id: UNLIMITED, rate: NO_LIMIT })?;
        host.set_class(index, &HtbClass { id: LIMITED, rate: self.rate })?;
        host.set_qdisc(index, LIMITED, QUEUE, &Qdisc::ByteFifo { limit: self.queue.max(MIN_HTB_QUEUE) })?;
        subnets.iter().try_for_each(|subnet| host.add_subnet_filter(index, &self.filter(*subnet, class)))
    }

    /// For an htb: the class of most packets, and the class of the subnets that are listed.
    fn exceptions(&self) -> Option<(Handle, Handle, &[IpNetwork])> {
        match self.subnets {
            Subnets::All => None,
            Subnets::Only(subnets) => Some((UNLIMITED, LIMITED, subnets)),
            Subnets::AllBut(subnets) => Some((LIMITED, UNLIMITED, subnets)),
        }
    }

    fn filter(&self, subnet: IpNetwork, class: Handle) -> SubnetFilter {
        SubnetFilter { subnet: network_of(subnet), side: self.remote, class }
    }

    /// Compares the limit with what `link` has.
    ///
    /// # Errors
    /// The first difference.
    pub fn verify(&self, host: &Netlink, link: &Link) -> Result<(), Error> {
        let what = format!("the limit on {}", link.name);
        let expected = format!(
            "rate {} bit/s, burst {} bits",
            u128::from(self.rate.bytes_per_second) * 8,
            u64::from(self.rate.burst) * 8
        );
        let limited = |rate: &Rate| {
            let found = format!(
                "rate {} bit/s, burst {} bits",
                u128::from(rate.bytes_per_second) * 8,
                u64::from(rate.burst) * 8
            );
            if self.rate.is(rate) { Ok(()) } else { Err(drift(&what, &expected, found)) }
        };
        let root = host.qdisc(link.index, Handle::ROOT).explain(&what)?.map(|(_, qdisc)| qdisc);
        let default_class = match (root, self.exceptions()) {
            (Some(Qdisc::TokenBucket { rate, .. }), None) => return limited(&rate),
            (Some(Qdisc::Htb { default_class }), _) => default_class,
            (Some(other), _) => return Err(drift(what, expected, format_args!("a {} qdisc", other.kind()))),
            (None, _) => return Err(drift(what, expected, "none")),
        };
        // The reference has used htb for everything since 1.6.
        let (default, class, subnets) = self.exceptions().unwrap_or((LIMITED, UNLIMITED, &[]));
        if default_class != default.minor {
            let found = format!("1:{default_class:x}");
            return Err(drift(format_args!("the default class on {}", link.name), default, found));
        }
        let classes = host.classes(link.index).explain(&what)?;
        let rate_of = |id: Handle| {
            let class = classes.iter().find(|class| class.id == id);
            class.map(|class| class.rate).ok_or_else(|| drift(&what, format_args!("htb class {id}"), "none"))
        };
        limited(&rate_of(LIMITED)?)?;
        let unlimited = rate_of(UNLIMITED)?.bytes_per_second;
        if unlimited != NO_LIMIT.bytes_per_second {
            return Err(drift(what, "no limit in class 1:1", format_args!("rate {unlimited} byte/s")));
        }
        let filters = host.filters(link.index, QDISC).explain(&what)?;
        let wanted: Vec<Filter> = subnets.iter().map(|subnet| Filter::Subnet(self.filter(*subnet, class))).collect();
        if let Some(missing) = wanted.iter().find(|filter| !filters.contains(filter)) {
            return Err(drift(format_args!("the filters on {}", link.name), format_args!("{missing:?}"), "none"));
        }
        match filters.iter().find(|filter| !wanted.contains(filter)) {
            Some(other) => {
                Err(drift(format_args!("the filters on {}", link.name), "no other", format_args!("{other:?}")))
            }
            None => Ok(()),
        }
    }
}

fn default_burst(rate: u64, packet: u32) -> u32 {
    saturated(bytes_in(rate, DEFAULT_BURST)).max(MIN_DEFAULT_BURST).max(packet)
}

fn bytes_in(rate: u64, time: Duration) -> u64 {
    u64::try_from(u128::from(rate) * time.as_micros() / 1_000_000).unwrap_or(u64::MAX)
}

fn saturated(bytes: u64) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// Without host bits, as the kernel gives it back.
fn network_of(subnet: IpNetwork) -> IpNetwork {
    IpNetwork::new(subnet.network(), subnet.prefix()).unwrap_or(subnet)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shaper(rate: u64, burst: Option<u32>, latency: u64) -> (Rate, u32) {
        let latency = Duration::from_millis(latency);
        let config = Config { ingress: None, egress: None, subnets: Subnets::All, latency };
        let shaper = Shaper::new("ingressBurst", &Limit { rate, burst }, &config, Side::Source, 1500);
        (shaper.rate, shaper.queue)
    }

    #[test]
    fn the_queue_is_the_burst_and_the_latency() {
        let (rate, queue) = shaper(1_000_000, Some(20_000), 25);
        assert_eq!((rate.burst, queue), (20_000, 45_000));
        assert_eq!(shaper(1_000_000, Some(20_000), 100).1, 120_000);
        assert_eq!(shaper(u64::MAX, Some(u32::MAX), 25).1, u32::MAX);
    }

    #[test]
    fn a_burst_nobody_chose_is_20_ms_and_one_large_packet_at_least() {
        assert_eq!(shaper(125_000_000, None, 25).0.burst, 2_500_000);
        assert_eq!(shaper(1000, None, 25).0.burst, 65_536);
        assert_eq!(shaper(u64::MAX, None, 25).0.burst, u32::MAX);
    }

    #[test]
    fn a_burst_below_one_packet_is_raised() {
        assert_eq!(shaper(1_000_000, Some(57), 25).0.burst, 1518);
        assert_eq!(shaper(1_000_000, Some(1518), 25).0.burst, 1518);
    }
}
