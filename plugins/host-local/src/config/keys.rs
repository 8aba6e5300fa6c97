//! The config's keys and the types of their values, as they stand in the JSON.

use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

use cni::{Cidr, Route};
use serde::{Deserialize, Deserializer, de};

/// All that host-local reads of a network's config.
#[derive(Debug, Deserialize)]
pub(super) struct Keys {
    pub(super) ipam: Option<IpamKeys>,
    #[serde(rename = "runtimeConfig", default)]
    pub(super) runtime_config: RuntimeKeys,
    #[serde(default)]
    pub(super) args: ArgsKeys,
}

/// What DEL and GC read: mistakes in other keys do not concern them.
#[derive(Debug, Deserialize)]
pub(super) struct StoreKeys {
    pub(super) ipam: StoreIpamKeys,
}

#[derive(Debug, Deserialize)]
pub(super) struct StoreIpamKeys {
    #[serde(rename = "dataDir", default)]
    pub(super) data_dir: PathBuf,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct IpamKeys {
    subnet: Option<Cidr>,
    #[serde(deserialize_with = "address")]
    range_start: Option<IpAddr>,
    #[serde(deserialize_with = "address")]
    range_end: Option<IpAddr>,
    #[serde(deserialize_with = "address")]
    gateway: Option<IpAddr>,
    pub(super) ranges: Vec<Vec<RangeKeys>>,
    pub(super) routes: Vec<Route>,
    pub(super) data_dir: PathBuf,
    pub(super) resolv_conf: PathBuf,
    pub(super) keep_across_reboot: bool,
}

impl IpamKeys {
    /// The range that the old keys describe. Without `subnet` the others mean nothing, as in the reference.
    pub(super) fn single_range(&self) -> Option<RangeKeys> {
        let (range_start, range_end, gateway) = (self.range_start, self.range_end, self.gateway);
        self.subnet.map(|subnet| RangeKeys { subnet, range_start, range_end, gateway })
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RangeKeys {
    pub(super) subnet: Cidr,
    #[serde(default, deserialize_with = "address")]
    pub(super) range_start: Option<IpAddr>,
    #[serde(default, deserialize_with = "address")]
    pub(super) range_end: Option<IpAddr>,
    #[serde(default, deserialize_with = "address")]
    pub(super) gateway: Option<IpAddr>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RuntimeKeys {
    #[serde(rename = "ipRanges")]
    pub(super) ip_ranges: Vec<Vec<RangeKeys>>,
    pub(super) ips: Vec<Ip>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ArgsKeys {
    pub(super) cni: CniArgsKeys,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct CniArgsKeys {
    pub(super) ips: Vec<Ip>,
}

/// An address asked for. It may come with a prefix length, which is checked and then means nothing: the range's counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ip(pub(super) IpAddr);

impl FromStr for Ip {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let ip = if text.contains('/') { text.parse::<Cidr>().map(|cidr| cidr.ip()) } else { parse(text) }?;
        match ip {
            IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => {
                Err(format!("{text:?} is an IPv4 address written as IPv6: write it as IPv4"))
            }
            ip => Ok(Self(ip)),
        }
    }
}

impl<'de> Deserialize<'de> for Ip {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// An address without prefix length; an empty string is none, as Go reads it.
fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<IpAddr>, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.is_empty() { Ok(None) } else { parse(&text).map(Some).map_err(de::Error::custom) }
}

fn parse(text: &str) -> Result<IpAddr, String> {
    text.parse().map_err(|_| format!("{text:?} is not an IP address, such as 10.1.2.3"))
}
