//! What the user may say: the `ipam` section, and what a runtime adds to it for one call.

mod keys;

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use cni::{CniArgs, Dns, Error, ErrorCode, NetConf, Route, SpecVersion};
use ipam::{DEFAULT_DATA_DIR, Range, RangeError, RangeSet, RangeSetError, RangeSets, Store};

use crate::config::keys::{Ip, IpamKeys, Keys, RangeKeys, StoreKeys};
use crate::errors::of_store;
use crate::resolv_conf;

/// A config that has passed all checks which need no look at the disk.
#[derive(Debug)]
pub(crate) struct Config {
    /// Where the addresses are kept.
    pub(crate) store: Store,
    /// `runtimeConfig.ipRanges`, then `subnet` and its companions as a set of their own, then `ranges`.
    pub(crate) sets: RangeSets,
    /// `IP` of `CNI_ARGS`, `args.cni.ips` and `runtimeConfig.ips`, in this order.
    pub(crate) requested: Vec<IpAddr>,
    /// `routes`, for the result.
    pub(crate) routes: Vec<Route>,
    resolv_conf: Option<PathBuf>,
}

/// A range set and the config key it comes from.
type Named = (String, Vec<RangeKeys>);

impl Config {
    /// Reads and checks everything.
    pub(crate) fn read(conf: &NetConf, args: &CniArgs) -> Result<Self, Error> {
        let keys: Keys = conf.read()?;
        let invalid = |what: String| {
            Error::new(ErrorCode::INVALID_CONFIG, format!("IPAM config of network {:?}: {what}", conf.name))
        };
        let ipam = keys.ipam.ok_or_else(|| invalid("missing 'ipam' key".to_owned()))?;
        let from_args = args.get("IP").map(requested_in_args).transpose().map_err(invalid)?;
        let requested = from_args.into_iter().chain(keys.args.cni.ips).chain(keys.runtime_config.ips);
        Ok(Self {
            store: store_in(&ipam.data_dir, &conf.name)?.keep_earlier_boots(ipam.keep_across_reboot),
            requested: requested.map(|ip| ip.0).collect(),
            sets: sets(merge(&ipam, keys.runtime_config.ip_ranges), conf.cni_version).map_err(invalid)?,
            routes: ipam.routes,
            resolv_conf: Some(ipam.resolv_conf).filter(|path| !path.as_os_str().is_empty()),
        })
    }

    /// The DNS settings in `resolvConf`; none without it.
    pub(crate) fn dns(&self) -> Result<Dns, Error> {
        self.resolv_conf.as_deref().map_or(Ok(Dns::default()), |path| {
            resolv_conf::read(path).map_err(|error| {
                let msg = format!("network {:?}: cannot read ipam.resolvConf {}", self.store.network(), path.display());
                Error::new(ErrorCode::IO, format!("{msg}: {error}"))
            })
        })
    }
}

/// Where the addresses of a network are, from a config whose other keys need not be right.
pub(crate) fn store(conf: &NetConf) -> Result<Store, Error> {
    let keys: StoreKeys = conf.read()?;
    store_in(&keys.ipam.data_dir, &conf.name)
}

fn store_in(data_dir: &Path, network: &str) -> Result<Store, Error> {
    let data_dir = if data_dir.as_os_str().is_empty() { Path::new(DEFAULT_DATA_DIR) } else { data_dir };
    Store::new(data_dir, network).map_err(of_store)
}

fn requested_in_args(text: &str) -> Result<Ip, String> {
    text.parse().map_err(|why| format!("CNI_ARGS: IP={text}: {why}"))
}

fn merge(ipam: &IpamKeys, ip_ranges: Vec<Vec<RangeKeys>>) -> Vec<Named> {
    let numbered = |key: &'static str, sets: Vec<Vec<RangeKeys>>| {
        sets.into_iter().enumerate().map(move |(i, set)| (format!("{key}[{i}]"), set))
    };
    let single = ipam.single_range().map(|range| ("ipam".to_owned(), vec![range]));
    numbered("runtimeConfig.ipRanges", ip_ranges)
        .chain(single)
        .chain(numbered("ipam.ranges", ipam.ranges.clone()))
        .collect()
}

fn sets(named: Vec<Named>, version: SpecVersion) -> Result<RangeSets, String> {
    let names: Vec<_> = named.iter().map(|(name, _)| name.clone()).collect();
    let sets: Vec<_> = named.into_iter().map(|(name, keys)| set(&name, &keys)).collect::<Result<_, _>>()?;
    let v4 = sets.iter().filter(|set| set.is_ipv4()).count();
    // Older results have one place for an address of each family.
    if version < SpecVersion::V0_3_0 && (v4 > 1 || sets.len() - v4 > 1) {
        return Err(format!(
            "CNI version {version} does not support more than 1 address per family, but there are {v4} IPv4 and {} IPv6 \
             range sets ({}): set cniVersion to 0.3.0 or newer, or put the ranges into one set",
            sets.len() - v4,
            names.join(", ")
        ));
    }
    RangeSets::new(sets).map_err(|error| match error {
        RangeSetError::SetsOverlap { first, first_ranges, other, other_ranges } => {
            format!("{} ({first_ranges}) overlaps with {} ({other_ranges})", names[first], names[other])
        }
        RangeSetError::NoSets => "no IP ranges specified: give ipam.ranges or ipam.subnet".to_owned(),
        error => error.to_string(),
    })
}

fn set(name: &str, ranges: &[RangeKeys]) -> Result<RangeSet, String> {
    let range = |(i, keys): (usize, &RangeKeys)| {
        // The old keys stand in `ipam` itself, which has no number.
        let name = if name == "ipam" { name.to_owned() } else { format!("{name}[{i}]") };
        range(keys).map_err(|error| format!("{name}: {error}"))
    };
    let ranges: Vec<_> = ranges.iter().enumerate().map(range).collect::<Result<_, _>>()?;
    RangeSet::new(ranges).map_err(|error| format!("{name}: {error}"))
}

fn range(keys: &RangeKeys) -> Result<Range, RangeError> {
    Range::new(keys.subnet.0, keys.range_start, keys.range_end, keys.gateway)
}

#[cfg(test)]
mod tests;
