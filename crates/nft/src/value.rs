//! Values that packets are compared with and that set elements are made of.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

/// IP protocol numbers (IANA), for [`Value::Proto`].
pub mod proto {
    /// ICMP.
    pub const ICMP: u8 = 1;
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// ICMPv6.
    pub const ICMPV6: u8 = 58;
    /// SCTP.
    pub const SCTP: u8 = 132;
}

/// The type of one field of a key, named as in `nft` (`ipv4_addr`, `ifname`, ...).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FieldType {
    /// 4 bytes.
    Ipv4Addr,
    /// 16 bytes.
    Ipv6Addr,
    /// 6 bytes.
    EtherAddr,
    /// One byte, [`proto`].
    InetProto,
    /// A port, 2 bytes in network order.
    InetService,
    /// 4 bytes in the host's order.
    Mark,
    /// An interface name, 16 bytes filled with zeros.
    IfName,
    /// An interface index, 4 bytes in the host's order.
    IfIndex,
    /// 2 bytes in network order.
    EtherType,
    /// One byte, `NFPROTO_*`.
    NfProto,
    /// One byte, `PACKET_*` of linux/if_packet.h.
    PktType,
    /// 4 bytes in the host's order, `RTN_*` of linux/rtnetlink.h.
    FibAddrType,
    /// A bit set, 4 bytes in the host's order ([`ct_state`](crate::ct_state)).
    CtState,
    /// A bit set, 4 bytes in the host's order ([`ct_status`](crate::ct_status)).
    CtStatus,
    /// One byte: 0 original, 1 reply.
    CtDirection,
}

impl FieldType {
    /// Length in bytes, before the padding a concatenation adds.
    pub fn size(self) -> usize {
        match self {
            FieldType::InetProto | FieldType::NfProto | FieldType::PktType | FieldType::CtDirection => 1,
            FieldType::InetService | FieldType::EtherType => 2,
            FieldType::Ipv4Addr
            | FieldType::Mark
            | FieldType::IfIndex
            | FieldType::FibAddrType
            | FieldType::CtState
            | FieldType::CtStatus => 4,
            FieldType::EtherAddr => 6,
            FieldType::Ipv6Addr | FieldType::IfName => 16,
        }
    }

    /// Length in a concatenation and in registers: a multiple of four.
    pub(crate) fn padded(self) -> usize {
        self.size().next_multiple_of(4)
    }

    /// The number `nft` gives the type; the kernel only stores it.
    pub(crate) fn id(self) -> u32 {
        match self {
            FieldType::NfProto => 2,
            FieldType::Ipv4Addr => 7,
            FieldType::Ipv6Addr => 8,
            FieldType::EtherAddr => 9,
            FieldType::EtherType => 10,
            FieldType::InetProto => 12,
            FieldType::InetService => 13,
            FieldType::Mark => 19,
            FieldType::IfIndex => 20,
            FieldType::CtState => 26,
            FieldType::CtDirection => 27,
            FieldType::CtStatus => 28,
            FieldType::PktType => 31,
            FieldType::FibAddrType => 38,
            FieldType::IfName => 41,
        }
    }

    pub(crate) fn is_host_order(self) -> bool {
        matches!(
            self,
            FieldType::Mark
                | FieldType::IfIndex
                | FieldType::IfName
                | FieldType::FibAddrType
                | FieldType::CtState
                | FieldType::CtStatus
        )
    }
}

impl fmt::Display for FieldType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FieldType::Ipv4Addr => "ipv4_addr",
            FieldType::Ipv6Addr => "ipv6_addr",
            FieldType::EtherAddr => "ether_addr",
            FieldType::InetProto => "inet_proto",
            FieldType::InetService => "inet_service",
            FieldType::Mark => "mark",
            FieldType::IfName => "ifname",
            FieldType::IfIndex => "iface_index",
            FieldType::EtherType => "ether_type",
            FieldType::NfProto => "nf_proto",
            FieldType::PktType => "pkt_type",
            FieldType::FibAddrType => "fib_addrtype",
            FieldType::CtState => "ct_state",
            FieldType::CtStatus => "ct_status",
            FieldType::CtDirection => "ct_dir",
        })
    }
}

/// One value of a [`FieldType`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Value {
    /// `ipv4_addr`.
    Ipv4(Ipv4Addr),
    /// `ipv6_addr`.
    Ipv6(Ipv6Addr),
    /// `ether_addr`, as on the wire.
    Ether([u8; 6]),
    /// `inet_proto`, [`proto`].
    Proto(u8),
    /// `inet_service`.
    Port(u16),
    /// `mark`.
    Mark(u32),
    /// `ifname`, at most 15 bytes.
    IfName(String),
    /// `iface_index`.
    IfIndex(u32),
    /// `ether_type`, 0x0800 for IPv4.
    EtherType(u16),
    /// `nf_proto`: 2 IPv4, 10 IPv6.
    NfProto(u8),
    /// `pkt_type`: 0 host, 1 broadcast, 2 multicast, 3 other host.
    PktType(u8),
    /// `fib_addrtype`: 2 local, 3 broadcast, 5 multicast; see [`addr_type`](crate::addr_type).
    FibAddrType(u32),
    /// `ct_state`.
    CtState(u32),
    /// `ct_status`.
    CtStatus(u32),
    /// `ct_dir`.
    CtDirection(u8),
}

impl Value {
    /// The type this is a value of.
    pub fn field_type(&self) -> FieldType {
        match self {
            Value::Ipv4(_) => FieldType::Ipv4Addr,
            Value::Ipv6(_) => FieldType::Ipv6Addr,
            Value::Ether(_) => FieldType::EtherAddr,
            Value::Proto(_) => FieldType::InetProto,
            Value::Port(_) => FieldType::InetService,
            Value::Mark(_) => FieldType::Mark,
            Value::IfName(_) => FieldType::IfName,
            Value::IfIndex(_) => FieldType::IfIndex,
            Value::EtherType(_) => FieldType::EtherType,
            Value::NfProto(_) => FieldType::NfProto,
            Value::PktType(_) => FieldType::PktType,
            Value::FibAddrType(_) => FieldType::FibAddrType,
            Value::CtState(_) => FieldType::CtState,
            Value::CtStatus(_) => FieldType::CtStatus,
            Value::CtDirection(_) => FieldType::CtDirection,
        }
    }

    /// The bytes as a register holds them, [`FieldType::size`] of them.
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Value::Ipv4(address) => address.octets().to_vec(),
            Value::Ipv6(address) => address.octets().to_vec(),
            Value::Ether(address) => address.to_vec(),
            Value::Proto(byte) | Value::NfProto(byte) | Value::PktType(byte) | Value::CtDirection(byte) => vec![*byte],
            Value::Port(number) | Value::EtherType(number) => number.to_be_bytes().to_vec(),
            Value::Mark(number)
            | Value::IfIndex(number)
            | Value::FibAddrType(number)
            | Value::CtState(number)
            | Value::CtStatus(number) => number.to_ne_bytes().to_vec(),
            Value::IfName(name) => {
                let mut bytes = name.as_bytes().to_vec();
                // A longer name is refused before anything is sent (see `transaction`).
                bytes.resize(FieldType::IfName.size(), 0);
                bytes
            }
        }
    }

    /// Reads a value back; `None` when the length is not that of the type.
    pub fn from_bytes(kind: FieldType, bytes: &[u8]) -> Option<Value> {
        let byte = || <[u8; 1]>::try_from(bytes).ok().map(|[byte]| byte);
        let short = || bytes.try_into().ok().map(u16::from_be_bytes);
        let word = || bytes.try_into().ok().map(u32::from_ne_bytes);
        match kind {
            FieldType::Ipv4Addr => <[u8; 4]>::try_from(bytes).ok().map(|octets| Value::Ipv4(octets.into())),
            FieldType::Ipv6Addr => <[u8; 16]>::try_from(bytes).ok().map(|octets| Value::Ipv6(octets.into())),
            FieldType::EtherAddr => bytes.try_into().ok().map(Value::Ether),
            FieldType::InetProto => byte().map(Value::Proto),
            FieldType::InetService => short().map(Value::Port),
            FieldType::Mark => word().map(Value::Mark),
            FieldType::IfName => {
                let name = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
                Some(Value::IfName(String::from_utf8_lossy(name).into_owned()))
            }
            FieldType::IfIndex => word().map(Value::IfIndex),
            FieldType::EtherType => short().map(Value::EtherType),
            FieldType::NfProto => byte().map(Value::NfProto),
            FieldType::PktType => byte().map(Value::PktType),
            FieldType::FibAddrType => word().map(Value::FibAddrType),
            FieldType::CtState => word().map(Value::CtState),
            FieldType::CtStatus => word().map(Value::CtStatus),
            FieldType::CtDirection => byte().map(Value::CtDirection),
        }
    }
}

impl From<Ipv4Addr> for Value {
    fn from(address: Ipv4Addr) -> Value {
        Value::Ipv4(address)
    }
}

impl From<Ipv6Addr> for Value {
    fn from(address: Ipv6Addr) -> Value {
        Value::Ipv6(address)
    }
}

impl From<IpAddr> for Value {
    fn from(address: IpAddr) -> Value {
        match address {
            IpAddr::V4(address) => Value::Ipv4(address),
            IpAddr::V6(address) => Value::Ipv6(address),
        }
    }
}

/// An interface name.
impl From<&str> for Value {
    fn from(name: &str) -> Value {
        Value::IfName(name.to_owned())
    }
}

/// An interface name.
impl From<String> for Value {
    fn from(name: String) -> Value {
        Value::IfName(name)
    }
}

fn named(f: &mut fmt::Formatter<'_>, number: u32, names: &[(u32, &str)]) -> fmt::Result {
    match names.iter().find(|(value, _)| *value == number) {
        Some((_, name)) => f.write_str(name),
        None => write!(f, "{number}"),
    }
}

fn flags(f: &mut fmt::Formatter<'_>, bits: u32, names: &[(u32, &str)]) -> fmt::Result {
    let known = names.iter().fold(0, |mask, (bit, _)| mask | bit);
    if bits == 0 || bits & !known != 0 {
        return write!(f, "{bits:#x}");
    }
    let set: Vec<&str> = names.iter().filter(|(bit, _)| bits & bit != 0).map(|(_, name)| *name).collect();
    f.write_str(&set.join(","))
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Ipv4(address) => write!(f, "{address}"),
            Value::Ipv6(address) => write!(f, "{address}"),
            Value::Ether([a, b, c, d, e, g]) => write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}"),
            Value::Proto(number) => {
                named(f, (*number).into(), &[(1, "icmp"), (6, "tcp"), (17, "udp"), (58, "ipv6-icmp"), (132, "sctp")])
            }
            Value::Port(number) => write!(f, "{number}"),
            Value::Mark(number) => write!(f, "{number:#010x}"),
            Value::IfName(name) => write!(f, "{name:?}"),
            Value::IfIndex(number) => write!(f, "{number}"),
            Value::EtherType(number) => {
                named(f, (*number).into(), &[(0x0800, "ip"), (0x0806, "arp"), (0x8100, "vlan"), (0x86dd, "ip6")])
            }
            Value::NfProto(number) => named(f, (*number).into(), &[(2, "ipv4"), (10, "ipv6")]),
            Value::PktType(number) => {
                named(f, (*number).into(), &[(0, "host"), (1, "broadcast"), (2, "multicast"), (3, "other")])
            }
            Value::FibAddrType(number) => {
                named(f, *number, &[(1, "unicast"), (2, "local"), (3, "broadcast"), (4, "anycast"), (5, "multicast")])
            }
            Value::CtState(bits) => {
                flags(f, *bits, &[(1, "invalid"), (2, "established"), (4, "related"), (8, "new"), (64, "untracked")])
            }
            Value::CtStatus(bits) => flags(
                f,
                *bits,
                &[(1, "expected"), (2, "seen-reply"), (4, "assured"), (8, "confirmed"), (16, "snat"), (32, "dnat")],
            ),
            Value::CtDirection(number) => named(f, (*number).into(), &[(0, "original"), (1, "reply")]),
        }
    }
}

/// The key, or the data, of a set element: one value or a concatenation (`tcp . 8080`).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key(pub Vec<Value>);

impl Key {
    /// A concatenation in the order of the set's type: `Key::concat([Value::Proto(proto::TCP), Value::Port(80)])`.
    pub fn concat(values: impl IntoIterator<Item = Value>) -> Key {
        Key(values.into_iter().collect())
    }

    /// The bytes of the key after this one, in the order of bytes; `None` after the last.
    pub fn after(&self) -> Option<Vec<u8>> {
        let mut bytes = self.to_bytes();
        for byte in bytes.iter_mut().rev() {
            *byte = byte.wrapping_add(1);
            if *byte != 0 {
                return Some(bytes);
            }
        }
        None
    }

    /// The bytes as the kernel stores them; the fields of a concatenation are padded to four bytes each.
    pub fn to_bytes(&self) -> Vec<u8> {
        match self.0.as_slice() {
            [single] => single.to_bytes(),
            values => {
                let mut bytes = Vec::new();
                for value in values {
                    bytes.extend(value.to_bytes());
                    bytes.resize(bytes.len().next_multiple_of(4), 0);
                }
                bytes
            }
        }
    }

    /// Reads a key back; `None` when the bytes are not of these types.
    pub fn from_bytes(types: &[FieldType], bytes: &[u8]) -> Option<Key> {
        if let [single] = types {
            return Value::from_bytes(*single, bytes.get(..single.size())?).map(|value| Key(vec![value]));
        }
        let mut rest = bytes;
        let mut values = Vec::with_capacity(types.len());
        for kind in types {
            values.push(Value::from_bytes(*kind, rest.get(..kind.size())?)?);
            rest = rest.get(kind.padded()..)?;
        }
        rest.is_empty().then_some(Key(values))
    }
}

impl<T: Into<Value>> From<T> for Key {
    fn from(value: T) -> Key {
        Key(vec![value.into()])
    }
}

impl<const N: usize> From<[Value; N]> for Key {
    fn from(values: [Value; N]) -> Key {
        Key(values.into())
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, value) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(" . ")?;
            }
            write!(f, "{value}")?;
        }
        Ok(())
    }
}
