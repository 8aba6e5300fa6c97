//! Addresses with a prefix length, read as strictly as CNI writes them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnetwork::{IpNetwork, Ipv4Network, Ipv6Network};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An address and its prefix length, such as `10.1.2.3/24`; host bits are kept.
///
/// `ipnetwork` alone would read `10.1.2.3` as a /32 and `10.1.2.3/255.0.0.0` as a /8; in a CNI config both are mistakes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cidr(pub IpNetwork);

const EVERYWHERE_V4: Ipv4Network = match Ipv4Network::new_checked(Ipv4Addr::UNSPECIFIED, 0) {
    Some(network) => network,
    None => panic!("checked when this is compiled"),
};
const EVERYWHERE_V6: Ipv6Network = match Ipv6Network::new_checked(Ipv6Addr::UNSPECIFIED, 0) {
    Some(network) => network,
    None => panic!("checked when this is compiled"),
};

impl Cidr {
    /// The destination of a default route in the family of `ip`: `0.0.0.0/0` or `::/0`.
    pub fn everywhere(ip: IpAddr) -> Cidr {
        match ip {
            IpAddr::V4(_) => Cidr(IpNetwork::V4(EVERYWHERE_V4)),
            IpAddr::V6(_) => Cidr(IpNetwork::V6(EVERYWHERE_V6)),
        }
    }

    /// The address, host bits and all.
    pub fn ip(&self) -> IpAddr {
        self.0.ip()
    }
}

impl FromStr for Cidr {
    type Err = String;

    fn from_str(text: &str) -> Result<Cidr, String> {
        let explain = || format!("{text:?} is not an address with a prefix length, such as 10.1.2.3/24");
        let (address, prefix) = text.split_once('/').ok_or_else(explain)?;
        let address: IpAddr = address.parse().map_err(|_| explain())?;
        // u8::from_str alone would take "+24" and "024".
        let plain = prefix.bytes().all(|b| b.is_ascii_digit()) && (prefix == "0" || !prefix.starts_with('0'));
        let prefix = prefix.parse().ok().filter(|_| plain).ok_or_else(explain)?;
        IpNetwork::new(address, prefix).map(Cidr).map_err(|_| explain())
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for Cidr {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Cidr {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Cidr, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strict() {
        for good in ["10.1.2.3/24", "0.0.0.0/0", "fd00::1/64", "::/0", "1.2.3.4/32"] {
            assert_eq!(good.parse::<Cidr>().unwrap().to_string(), good);
        }
        for bad in [
            "",
            "10.1.2.3",
            "10.1.2.3/255.0.0.0",
            "10.1.2.3/33",
            "10.1.2/24",
            "fd00::/129",
            "1.2.3.4/+4",
            "1.2.3.4/04",
            "1.2.3.4/",
            "01.2.3.4/8",
        ] {
            assert!(bad.parse::<Cidr>().is_err(), "{bad}");
        }
    }

    #[test]
    fn everywhere() {
        assert_eq!(Cidr::everywhere([1, 2, 3, 4].into()).to_string(), "0.0.0.0/0");
        assert_eq!(Cidr::everywhere(Ipv6Addr::LOCALHOST.into()).to_string(), "::/0");
    }
}
