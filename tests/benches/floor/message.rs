//! rtnetlink messages as bytes (rtnetlink(7), linux/rtnetlink.h): a header, a fixed part, attributes.

use nix::libc;

/// `struct nlmsghdr`.
const HEADER: usize = 16;

/// One message that asks for an acknowledgement.
pub struct Message(Vec<u8>);

impl Message {
    /// A message of `kind` (`RTM_*`) with `flags` (`NLM_F_*`) beside those of every request, and its fixed part.
    pub fn new(kind: u16, flags: i32, fixed: &[u8]) -> Message {
        let flags = u16::try_from(flags | libc::NLM_F_REQUEST | libc::NLM_F_ACK).unwrap_or_default();
        let mut bytes = vec![0; HEADER];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&flags.to_ne_bytes());
        bytes.extend(fixed);
        Message(bytes)
    }

    /// Adds an attribute.
    pub fn attribute(mut self, kind: u16, value: &[u8]) -> Message {
        self.0.extend(attribute(kind, value));
        self
    }

    /// The bytes to send.
    pub fn bytes(&self) -> Vec<u8> {
        let length = u32::try_from(self.0.len()).unwrap_or_default();
        [&length.to_ne_bytes()[..], &self.0[4..]].concat()
    }
}

/// An attribute alone, for one that is in another. Padded to four bytes, which its length does not count.
pub fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len() + 4).unwrap_or_default();
    let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// A name with the zero at its end that the kernel wants.
pub fn text(name: &str) -> Vec<u8> {
    [name.as_bytes(), b"\0"].concat()
}

/// `struct ifinfomsg` of the link `index` (0 for one that is named otherwise), set up if `up`.
pub fn link(index: u32, up: bool) -> Vec<u8> {
    let up = if up { libc::IFF_UP } else { 0 }.cast_unsigned().to_ne_bytes();
    [[0; 4], index.to_ne_bytes(), up, up].concat()
}

/// `struct ifaddrmsg` of an IPv4 address on the link `index`.
pub fn address(index: u32, prefix: u8) -> Vec<u8> {
    [[AF_INET, prefix, 0, 0], index.to_ne_bytes()].concat()
}

/// `struct rtmsg` of an IPv4 default route in the main table.
pub fn default_route() -> Vec<u8> {
    const BOOT: u8 = 3; // RTPROT_BOOT
    const UNICAST: u8 = 1; // RTN_UNICAST
    [[AF_INET, 0, 0, 0], [libc::RT_TABLE_MAIN, BOOT, libc::RT_SCOPE_UNIVERSE, UNICAST], [0; 4]].concat()
}

const AF_INET: u8 = 2;
