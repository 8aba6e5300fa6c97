//! Arithmetic on addresses of either family.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The address as a number. IPv4 takes the low 32 bits.
pub(crate) fn to_bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_bits().into(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

/// The address of the family of `like` with this number; bits above the family's width are cut off.
pub(crate) fn from_bits(like: IpAddr, bits: u128) -> IpAddr {
    match like {
        IpAddr::V4(_) => Ipv4Addr::from_bits(bits as u32).into(),
        IpAddr::V6(_) => Ipv6Addr::from_bits(bits).into(),
    }
}

/// Whether this is an IPv4 address in IPv6 clothes (`::ffff:10.0.0.1`). Go prints one as plain IPv4, so it cannot have a
/// file of its own.
pub(crate) fn is_mapped(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// File names are what Go's net.IP.String() prints; these are the corners where printers differ.
    #[test]
    fn prints_as_go_does() {
        for (input, go) in [
            ("2001:DB8:0:0:1:0:0:1", "2001:db8::1:0:0:1"),
            ("2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"),
            ("0:0:0:0:0:0:0:0", "::"),
            ("::1.2.3.4", "::102:304"),
            ("1:0:0:2:0:0:0:3", "1:0:0:2::3"),
            ("fe80:0:0:0:0:0:0:0", "fe80::"),
        ] {
            assert_eq!(input.parse::<IpAddr>().unwrap().to_string(), go);
        }
    }

    #[test]
    fn bits_round_trip() {
        for text in ["0.0.0.0", "255.255.255.255", "::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2001:db8::7"] {
            let address: IpAddr = text.parse().unwrap();
            assert_eq!(from_bits(address, to_bits(address)), address);
        }
    }
}
