//! Ethernet addresses.

use std::{fmt, io, str::FromStr};

/// A 48-bit Ethernet (MAC) address.
///
/// Displays as `aa:bb:cc:dd:ee:ff`, lower case.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MacAddr([u8; 6]);

impl MacAddr {
    /// The six octets, in the order they go over the wire.
    pub fn octets(self) -> [u8; 6] {
        self.0
    }

    /// Whether the group bit is set: such an address names no single interface, and the kernel refuses it for one.
    /// The broadcast address is one of them.
    pub fn is_multicast(self) -> bool {
        self.0[0] & 0x01 != 0
    }

    /// Whether all octets are zero.
    pub fn is_zero(self) -> bool {
        self.0 == [0; 6]
    }

    /// A random unicast address with the "locally administered" bit set (IEEE 802, 48-bit).
    ///
    /// # Errors
    /// When the kernel gives no random bytes (`getrandom(2)`).
    pub fn random() -> io::Result<MacAddr> {
        let mut octets = [0; 6];
        getrandom::fill(&mut octets)?;
        octets[0] = octets[0] & !0x01 | 0x02;
        Ok(MacAddr(octets))
    }
}

impl From<[u8; 6]> for MacAddr {
    fn from(octets: [u8; 6]) -> Self {
        MacAddr(octets)
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not a 48-bit MAC address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a MAC address: expected six octets in hex such as 02:42:ac:11:00:02")]
pub struct ParseMacError(String);

impl FromStr for MacAddr {
    type Err = ParseMacError;

    /// Accepts what Go's `net.ParseMAC` accepts for 48 bits: `aa:bb:cc:dd:ee:ff`, `aa-bb-cc-dd-ee-ff` and
    /// `aabb.ccdd.eeff`, in either case, one separator throughout.
    fn from_str(text: &str) -> Result<Self, ParseMacError> {
        parse(text.as_bytes()).map(MacAddr).ok_or_else(|| ParseMacError(text.to_owned()))
    }
}

fn parse(text: &[u8]) -> Option<[u8; 6]> {
    let separator = match text.len() {
        17 => *text.get(2).filter(|byte| matches!(byte, b':' | b'-'))?,
        14 => b'.',
        _ => return None,
    };
    // Octets a separator stands after: each one, or each second one.
    let group = if separator == b'.' { 2 } else { 1 };
    let mut octets = [0; 6];
    for (i, octet) in octets.iter_mut().enumerate() {
        let at = 2 * i + i / group;
        *octet = hex(text[at])? << 4 | hex(text[at + 1])?;
        if (i + 1) % group == 0 && i + 1 < 6 && text[at + 2] != separator {
            return None;
        }
    }
    Some(octets)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_go_accepts_is_read_and_shown_in_one() {
        for text in ["0A:58:0a:f4:00:02", "0a-58-0A-f4-00-02", "0a58.0aF4.0002"] {
            let mac: MacAddr = text.parse().unwrap();
            assert_eq!(mac.octets(), [0x0a, 0x58, 0x0a, 0xf4, 0, 2], "{text}");
            assert_eq!(mac.to_string(), "0a:58:0a:f4:00:02");
        }
    }

    #[test]
    fn anything_else_is_refused_and_named() {
        for text in [
            "",
            "0a:58:0a:f4:00",
            "0a:58:0a:f4:00:02:03",
            "0a:58-0a:f4:00:02",
            "0a58:0af4:0002",
            "0a:58:0a:f4:00:0g",
            "0a.58.0a.f4.00.02",
            "0a:58:0a:f4:00:é",
            " a:58:0a:f4:00:02",
            "0a58.0af4.0002.0003",
        ] {
            let error = text.parse::<MacAddr>().unwrap_err();
            assert!(error.to_string().contains("not a MAC address"), "{text}");
        }
    }

    #[test]
    fn random_ones_are_local_unicast_and_differ() {
        let (a, b) = (MacAddr::random().unwrap(), MacAddr::random().unwrap());
        assert_ne!(a, b);
        assert!(!a.is_multicast() && !b.is_multicast());
        assert_eq!(a.octets()[0] & 0x02, 0x02);
    }

    #[test]
    fn multicast_and_zero_are_told_apart() {
        assert!(MacAddr::from([0xff; 6]).is_multicast());
        assert!(MacAddr::from([0x33, 0x33, 0, 0, 0, 1]).is_multicast());
        assert!(MacAddr::from([0; 6]).is_zero() && !MacAddr::from([0; 6]).is_multicast());
    }
}
