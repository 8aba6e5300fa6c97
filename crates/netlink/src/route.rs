//! Routes.

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use netlink_packet_core::{NLM_F_APPEND, NLM_F_CREATE};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    route::{
        RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteMetric, RouteProtocol, RouteScope, RouteType,
        RouteVia,
    },
};
use nix::libc;

use crate::{
    Error, Netlink,
    packet::{Attribute, Packet, attributes, to_ip},
};

/// The length of `struct rtmsg`.
pub(crate) const HEADER: usize = 12;
/// The length of `struct rtnexthop`.
const NEXT_HOP: usize = 8;
/// `RTA_VIA`, `RTNH_F_ONLINK`, `RTAX_*`: linux/rtnetlink.h, not in libc.
pub(crate) const RTA_VIA: u16 = 18;
const RTNH_F_ONLINK: u8 = 4;
const RTAX_MTU: u16 = 2;
const RTAX_ADVMSS: u16 = 8;

/// An address family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// A unicast route over one next hop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The destination; `0.0.0.0/0` or `::/0` for the default route.
    pub dst: IpNetwork,
    /// The next hop; without, the destination is on the link.
    pub gateway: Option<IpAddr>,
    /// The index of the interface packets leave by.
    pub oif: u32,
    /// The MTU of the path in bytes (`RTAX_MTU`).
    pub mtu: Option<u32>,
    /// The maximum segment size told to TCP peers, in bytes (`RTAX_ADVMSS`).
    pub advmss: Option<u32>,
    /// The metric: of routes to one destination the lowest wins. The kernel makes it 1024 for IPv6 where there is none.
    pub priority: Option<u32>,
    /// The table; `None` when adding is the main one, 254.
    pub table: Option<u32>,
    /// The scope (`RT_SCOPE_*`); `None` when adding means as `ip route` does it: link (253) for IPv4 without a
    /// gateway, else universe (0).
    pub scope: Option<u8>,
    /// The source address for packets that have none yet (`RTA_PREFSRC`).
    pub source: Option<IpAddr>,
    /// Whether the gateway counts as on the link although no address of the interface says so (`RTNH_F_ONLINK`).
    pub onlink: bool,
}

impl Route {
    /// A plain route: everything else as the kernel has it by default.
    pub fn new(dst: IpNetwork, gateway: Option<IpAddr>, oif: u32) -> Route {
        Route {
            dst,
            gateway,
            oif,
            mtu: None,
            advmss: None,
            priority: None,
            table: None,
            scope: None,
            source: None,
            onlink: false,
        }
    }
}

impl Netlink {
    /// Adds a route. Host bits of the destination are dropped, as IPv6 does and IPv4 refuses.
    ///
    /// # Errors
    /// [`Error::Exists`] where there is one to this destination with the same metric in the table; `Network is
    /// unreachable` where the gateway is on no network of the interface.
    pub fn add_route(&self, route: &Route) -> Result<(), Error> {
        let via = route.gateway.map_or_else(|| "on link".to_owned(), |gateway| format!("via {gateway}"));
        let operation = format_args!("add route to {} {via} over interface #{}", route.dst, route.oif);
        self.execute(&RouteNetlinkMessage::NewRoute(message(route)), NLM_F_CREATE | NLM_F_APPEND, &operation)
    }

    /// The unicast routes of a family, in one table or all, over one interface or all. What the kernel keeps for
    /// itself (local, broadcast, multicast, anycast) is left out. A route over several next hops is listed once for
    /// each.
    ///
    /// # Errors
    /// [`Error::NotFound`] where there is no such interface. A table that does not exist is empty.
    pub fn routes(&self, family: Family, table: Option<u32>, oif: Option<u32>) -> Result<Vec<Route>, Error> {
        let mut message = RouteMessage::default();
        message.header.address_family = family.into();
        message.header.kind = RouteType::Unicast;
        message.attributes.extend(table.map(RouteAttribute::Table));
        message.attributes.extend(oif.map(RouteAttribute::Oif));
        let operation = "list the routes";
        let routes = match self.dump(&RouteNetlinkMessage::GetRoute(message), &operation, |packet| Some(parse(packet)))
        {
            Err(Error::NotFound(refusal)) if refusal.errno == libc::ENOENT && table.is_some() => return Ok(Vec::new()),
            routes => routes?,
        };
        let wanted = |route: &Route| {
            table.is_none_or(|table| route.table == Some(table)) && oif.is_none_or(|oif| route.oif == oif)
        };
        Ok(routes.into_iter().flatten().filter(wanted).collect())
    }
}

impl From<Family> for AddressFamily {
    fn from(family: Family) -> Self {
        match family {
            Family::V4 => AddressFamily::Inet,
            Family::V6 => AddressFamily::Inet6,
        }
    }
}

fn message(route: &Route) -> RouteMessage {
    let mut message = RouteMessage::default();
    let v4 = route.dst.is_ipv4();
    let table = route.table.unwrap_or(u32::from(libc::RT_TABLE_MAIN));
    message.header.address_family = if v4 { AddressFamily::Inet } else { AddressFamily::Inet6 };
    message.header.destination_prefix_length = route.dst.prefix();
    // The header has room for one byte; RTA_TABLE carries the number where that is too small.
    message.header.table = u8::try_from(table).unwrap_or(libc::RT_TABLE_UNSPEC);
    message.header.protocol = RouteProtocol::Boot;
    message.header.kind = RouteType::Unicast;
    message.header.scope = match route.scope {
        Some(scope) => scope.into(),
        None if v4 && route.gateway.is_none() => RouteScope::Link,
        None => RouteScope::Universe,
    };
    if route.onlink {
        message.header.flags = RouteFlags::Onlink;
    }
    let attributes = &mut message.attributes;
    if route.dst.prefix() > 0 {
        attributes.push(RouteAttribute::Destination(RouteAddress::from(route.dst.network())));
    }
    attributes.push(RouteAttribute::Oif(route.oif));
    attributes.extend(route.gateway.map(|gateway| match gateway {
        IpAddr::V6(gateway) if v4 => RouteAttribute::Via(RouteVia::Inet6(gateway)),
        gateway => RouteAttribute::Gateway(RouteAddress::from(gateway)),
    }));
    attributes.extend(route.priority.map(RouteAttribute::Priority));
    attributes.extend(route.source.map(|source| RouteAttribute::PrefSource(RouteAddress::from(source))));
    if table > u32::from(u8::MAX) {
        attributes.push(RouteAttribute::Table(table));
    }
    let metrics: Vec<_> =
        route.mtu.map(RouteMetric::Mtu).into_iter().chain(route.advmss.map(RouteMetric::Advmss)).collect();
    if !metrics.is_empty() {
        attributes.push(RouteAttribute::Metrics(metrics));
    }
    message
}

pub(crate) fn parse(packet: &Packet) -> Vec<Route> {
    read(packet).unwrap_or_default()
}

fn read(packet: &Packet) -> Option<Vec<Route>> {
    if packet.kind != libc::RTM_NEWROUTE || packet.u8_at(7)? != libc::RTN_UNICAST {
        return None;
    }
    let any = if packet.u8_at(0)? == libc::AF_INET6 as u8 { to_ip(&[0; 16])? } else { to_ip(&[0; 4])? };
    let mut route = Route::new(IpNetwork::new(any, 0).ok()?, None, 0);
    route.table = packet.u8_at(4).map(u32::from);
    route.scope = packet.u8_at(6);
    route.onlink = packet.u32_at(8)? & u32::from(RTNH_F_ONLINK) != 0;
    let prefix = packet.u8_at(1)?;
    let mut hops = None;
    for attribute in packet.attributes(HEADER) {
        match attribute.kind {
            libc::RTA_DST => route.dst = IpNetwork::new(attribute.ip()?, prefix).ok()?,
            libc::RTA_OIF => route.oif = attribute.u32()?,
            libc::RTA_GATEWAY | RTA_VIA => route.gateway = gateway(attribute),
            libc::RTA_PRIORITY => route.priority = attribute.u32(),
            libc::RTA_PREFSRC => route.source = attribute.ip(),
            libc::RTA_TABLE => route.table = attribute.u32(),
            libc::RTA_METRICS => metrics(attribute, &mut route),
            libc::RTA_MULTIPATH => hops = Some(attribute.value),
            _ => {}
        }
    }
    Some(match hops {
        None => vec![route],
        Some(hops) => next_hops(hops, &route),
    })
}

fn metrics(attribute: Attribute<'_>, route: &mut Route) {
    for metric in attribute.nested() {
        match metric.kind {
            RTAX_MTU => route.mtu = metric.u32(),
            RTAX_ADVMSS => route.advmss = metric.u32(),
            _ => {}
        }
    }
}

/// `RTA_GATEWAY` holds the address alone, `RTA_VIA` two bytes of family before it.
fn gateway(attribute: Attribute<'_>) -> Option<IpAddr> {
    if attribute.kind == RTA_VIA { to_ip(attribute.value.get(2..)?) } else { attribute.ip() }
}

/// `RTA_MULTIPATH`: `struct rtnexthop` (length, flags, hops, interface) and attributes, one after another.
fn next_hops(mut bytes: &[u8], common: &Route) -> Vec<Route> {
    let mut routes = Vec::new();
    while let Some((header, _)) = bytes.split_first_chunk::<NEXT_HOP>() {
        let length = usize::from(u16::from_ne_bytes([header[0], header[1]]));
        let Some(body) = bytes.get(NEXT_HOP..length) else { break };
        let mut route = common.clone();
        route.onlink = header[2] & RTNH_F_ONLINK != 0;
        route.oif = u32::from_ne_bytes([header[4], header[5], header[6], header[7]]);
        route.gateway = attributes(body).find(|nla| matches!(nla.kind, libc::RTA_GATEWAY | RTA_VIA)).and_then(gateway);
        routes.push(route);
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    routes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut bytes = u16::try_from(value.len() + 4).unwrap().to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn hop(oif: u8, flags: u8, attributes: &[u8]) -> Vec<u8> {
        let length = u8::try_from(NEXT_HOP + attributes.len()).unwrap();
        [&[length, 0, flags, 0, oif, 0, 0, 0], attributes].concat()
    }

    fn multipath(hops: &[u8]) -> Packet {
        let mut body = vec![0; HEADER];
        body[0] = libc::AF_INET as u8;
        body[4] = libc::RT_TABLE_MAIN;
        body[7] = libc::RTN_UNICAST;
        body.extend(attribute(libc::RTA_MULTIPATH, hops));
        Packet { kind: libc::RTM_NEWROUTE, body }
    }

    #[test]
    fn a_route_over_two_hops_is_two_routes() {
        let hops = [
            hop(2, 0, &attribute(libc::RTA_GATEWAY, &[10, 0, 0, 1])),
            hop(3, RTNH_F_ONLINK, &attribute(RTA_VIA, &[10, 0, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1])),
        ];
        let routes = parse(&multipath(&hops.concat()));
        let seen: Vec<_> =
            routes.iter().map(|route| (route.oif, route.gateway.unwrap().to_string(), route.onlink)).collect();
        assert_eq!(seen, [(2, "10.0.0.1".to_owned(), false), (3, "fd00::1".to_owned(), true)]);
        assert!(routes.iter().all(|route| route.dst.prefix() == 0 && route.table == Some(254)));
    }

    #[test]
    fn a_hop_of_impossible_length_ends_the_list() {
        let good = hop(2, 0, &[]);
        for broken in [vec![0; 8], vec![7, 0, 0, 0, 1, 0, 0, 0], vec![200, 0, 0, 0, 1, 0, 0, 0], vec![8, 0, 0]] {
            let routes = parse(&multipath(&[good.clone(), broken].concat()));
            assert_eq!(routes.len(), 1);
        }
    }

    #[test]
    fn what_is_no_unicast_route_is_left_out() {
        for (offset, value) in [(7, libc::RTN_LOCAL), (7, libc::RTN_BLACKHOLE)] {
            let mut packet = multipath(&hop(2, 0, &[]));
            packet.body[offset] = value;
            assert_eq!(parse(&packet), []);
        }
        assert_eq!(parse(&Packet { kind: libc::RTM_NEWROUTE, body: vec![2, 0, 0] }), []);
    }
}
