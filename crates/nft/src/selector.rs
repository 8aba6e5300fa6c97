//! What a rule can look at in a packet.

use std::fmt;

use crate::value::FieldType;

/// Bits of [`Selector::CtState`] (`NF_CT_STATE_BIT`).
pub mod ct_state {
    /// Belongs to no connection that could be.
    pub const INVALID: u32 = 1;
    /// Of a connection that has seen packets in both directions.
    pub const ESTABLISHED: u32 = 2;
    /// First of a connection that belongs to another.
    pub const RELATED: u32 = 4;
    /// First of a connection.
    pub const NEW: u32 = 8;
    /// Exempted from tracking.
    pub const UNTRACKED: u32 = 64;
}

/// Bits of [`Selector::CtStatus`] (`IPS_*` of nf_conntrack_common.h).
pub mod ct_status {
    /// Packets were seen in both directions.
    pub const SEEN_REPLY: u32 = 2;
    /// The source is translated.
    pub const SRC_NAT: u32 = 16;
    /// The destination is translated: what a port mapping let in.
    pub const DST_NAT: u32 = 32;
}

/// Values of [`Selector::FibDaddrType`] and [`Selector::FibSaddrType`] (`RTN_*` of linux/rtnetlink.h).
pub mod addr_type {
    /// Reached through a gateway or a link.
    pub const UNICAST: u32 = 1;
    /// An address of this host.
    pub const LOCAL: u32 = 2;
    /// A broadcast address.
    pub const BROADCAST: u32 = 3;
    /// A multicast address.
    pub const MULTICAST: u32 = 5;
}

/// The network protocol a rule, or a translation, is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Network {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Network {
    /// `NFPROTO_IPV4`, `NFPROTO_IPV6`.
    pub(crate) fn nfproto(self) -> u8 {
        match self {
            Network::V4 => 2,
            Network::V6 => 10,
        }
    }

    /// `ETH_P_IP`, `ETH_P_IPV6`.
    pub(crate) fn ether_type(self) -> u16 {
        match self {
            Network::V4 => 0x0800,
            Network::V6 => 0x86dd,
        }
    }

    /// The type of an address.
    pub fn field_type(self) -> FieldType {
        match self {
            Network::V4 => FieldType::Ipv4Addr,
            Network::V6 => FieldType::Ipv6Addr,
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Network::V4 => "ip",
            Network::V6 => "ip6",
        })
    }
}

/// A property of a packet, named as in `nft`.
///
/// In tables that see more than one network protocol (inet, bridge, netdev), a rule that looks at an `Ip…` or `Ip6…`
/// field checks the protocol first by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Selector {
    /// `ip saddr`.
    IpSaddr,
    /// `ip daddr`.
    IpDaddr,
    /// `ip protocol`; prefer [`Selector::L4Proto`].
    IpProtocol,
    /// `ip6 saddr`.
    Ip6Saddr,
    /// `ip6 daddr`.
    Ip6Daddr,
    /// `ip6 nexthdr`; prefer [`Selector::L4Proto`], which skips extension headers.
    Ip6NextHeader,
    /// `th sport`: the source port of TCP, UDP, SCTP and the like. Check [`Selector::L4Proto`] first.
    ThSport,
    /// `th dport`: the destination port.
    ThDport,
    /// `ether saddr`.
    EtherSaddr,
    /// `ether daddr`.
    EtherDaddr,
    /// `ether type`.
    EtherType,
    /// `meta l4proto`.
    L4Proto,
    /// `meta nfproto`.
    NfProto,
    /// `meta protocol`: the EtherType, after VLAN tags.
    Protocol,
    /// `meta iifname`.
    IifName,
    /// `meta oifname`.
    OifName,
    /// `meta iif`.
    Iif,
    /// `meta oif`.
    Oif,
    /// `meta mark`.
    Mark,
    /// `meta pkttype`.
    PktType,
    /// `ct state`, bits of [`ct_state`].
    CtState,
    /// `ct status`, bits of [`ct_status`].
    CtStatus,
    /// `ct mark`.
    CtMark,
    /// `ct direction`.
    CtDirection,
    /// `fib daddr type`, one of [`addr_type`]. Prerouting, input and output.
    FibDaddrType,
    /// `fib saddr type`. Prerouting, input and forward.
    FibSaddrType,
    /// `fib daddr . iif type`: only addresses of the interface the packet came in by.
    FibDaddrIifType,
}

/// Where the kernel takes a selector from: the expression and its arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// `NFT_PAYLOAD_*_HEADER`, offset and length in bytes.
    Payload(u32, u32, u32),
    /// `NFT_META_*`.
    Meta(u32),
    /// `NFT_CT_*`.
    Ct(u32),
    /// `NFTA_FIB_F_*`, with `NFT_FIB_RESULT_ADDRTYPE`.
    FibType(u32),
}

const LINK: u32 = 0;
const NETWORK: u32 = 1;
const TRANSPORT: u32 = 2;

impl Selector {
    const ALL: [Selector; 27] = [
        Selector::IpSaddr,
        Selector::IpDaddr,
        Selector::IpProtocol,
        Selector::Ip6Saddr,
        Selector::Ip6Daddr,
        Selector::Ip6NextHeader,
        Selector::ThSport,
        Selector::ThDport,
        Selector::EtherSaddr,
        Selector::EtherDaddr,
        Selector::EtherType,
        Selector::L4Proto,
        Selector::NfProto,
        Selector::Protocol,
        Selector::IifName,
        Selector::OifName,
        Selector::Iif,
        Selector::Oif,
        Selector::Mark,
        Selector::PktType,
        Selector::CtState,
        Selector::CtStatus,
        Selector::CtMark,
        Selector::CtDirection,
        Selector::FibDaddrType,
        Selector::FibSaddrType,
        Selector::FibDaddrIifType,
    ];

    /// The source address of a network protocol.
    pub fn saddr(network: Network) -> Selector {
        match network {
            Network::V4 => Selector::IpSaddr,
            Network::V6 => Selector::Ip6Saddr,
        }
    }

    /// The destination address of a network protocol.
    pub fn daddr(network: Network) -> Selector {
        match network {
            Network::V4 => Selector::IpDaddr,
            Network::V6 => Selector::Ip6Daddr,
        }
    }

    /// Everything about the selector: its name in `nft`, its type, where the kernel takes it from.
    fn facts(self) -> (&'static str, FieldType, Source) {
        use FieldType as T;
        match self {
            Selector::IpSaddr => ("ip saddr", T::Ipv4Addr, Source::Payload(NETWORK, 12, 4)),
            Selector::IpDaddr => ("ip daddr", T::Ipv4Addr, Source::Payload(NETWORK, 16, 4)),
            Selector::IpProtocol => ("ip protocol", T::InetProto, Source::Payload(NETWORK, 9, 1)),
            Selector::Ip6Saddr => ("ip6 saddr", T::Ipv6Addr, Source::Payload(NETWORK, 8, 16)),
            Selector::Ip6Daddr => ("ip6 daddr", T::Ipv6Addr, Source::Payload(NETWORK, 24, 16)),
            Selector::Ip6NextHeader => ("ip6 nexthdr", T::InetProto, Source::Payload(NETWORK, 6, 1)),
            Selector::ThSport => ("th sport", T::InetService, Source::Payload(TRANSPORT, 0, 2)),
            Selector::ThDport => ("th dport", T::InetService, Source::Payload(TRANSPORT, 2, 2)),
            Selector::EtherDaddr => ("ether daddr", T::EtherAddr, Source::Payload(LINK, 0, 6)),
            Selector::EtherSaddr => ("ether saddr", T::EtherAddr, Source::Payload(LINK, 6, 6)),
            Selector::EtherType => ("ether type", T::EtherType, Source::Payload(LINK, 12, 2)),
            Selector::Protocol => ("meta protocol", T::EtherType, Source::Meta(1)),
            Selector::Mark => ("meta mark", T::Mark, Source::Meta(3)),
            Selector::Iif => ("iif", T::IfIndex, Source::Meta(4)),
            Selector::Oif => ("oif", T::IfIndex, Source::Meta(5)),
            Selector::IifName => ("iifname", T::IfName, Source::Meta(6)),
            Selector::OifName => ("oifname", T::IfName, Source::Meta(7)),
            Selector::NfProto => ("meta nfproto", T::NfProto, Source::Meta(15)),
            Selector::L4Proto => ("meta l4proto", T::InetProto, Source::Meta(16)),
            Selector::PktType => ("meta pkttype", T::PktType, Source::Meta(19)),
            Selector::CtState => ("ct state", T::CtState, Source::Ct(0)),
            Selector::CtDirection => ("ct direction", T::CtDirection, Source::Ct(1)),
            Selector::CtStatus => ("ct status", T::CtStatus, Source::Ct(2)),
            Selector::CtMark => ("ct mark", T::Mark, Source::Ct(3)),
            Selector::FibSaddrType => ("fib saddr type", T::FibAddrType, Source::FibType(1)),
            Selector::FibDaddrType => ("fib daddr type", T::FibAddrType, Source::FibType(2)),
            Selector::FibDaddrIifType => ("fib daddr . iif type", T::FibAddrType, Source::FibType(2 | 8)),
        }
    }

    /// The type of its values.
    pub fn field_type(self) -> FieldType {
        self.facts().1
    }

    pub(crate) fn source(self) -> Source {
        self.facts().2
    }

    pub(crate) fn from_source(source: Source) -> Option<Selector> {
        Selector::ALL.into_iter().find(|selector| selector.source() == source)
    }

    /// The network protocol whose header this is a field of.
    pub(crate) fn network(self) -> Option<Network> {
        match self {
            Selector::IpSaddr | Selector::IpDaddr | Selector::IpProtocol => Some(Network::V4),
            Selector::Ip6Saddr | Selector::Ip6Daddr | Selector::Ip6NextHeader => Some(Network::V6),
            _ => None,
        }
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.facts().0)
    }
}
