//! UDP connections that the kernel remembers (ctnetlink): a stale one leads datagrams past new rules, or to a dead pod.

use std::io;
use std::net::{IpAddr, SocketAddr};

use netlink::Netlink;
use netlink_sys::protocols::NETLINK_NETFILTER;
use nix::libc;

use crate::mapping::{Mapping, Protocol};
use crate::wire::{ACK, DUMP, Wire, find, put, put_nested};

/// `NFNL_SUBSYS_CTNETLINK << 8` with `IPCTNL_MSG_CT_GET` and `_DELETE`.
const GET: u16 = 1 << 8 | 1;
const DELETE: u16 = 1 << 8 | 2;
/// `struct nfgenmsg`.
const NFGENMSG: usize = 4;
/// `CTA_*` of linux/netfilter/nfnetlink_conntrack.h.
const TUPLE_ORIG: u16 = 1;
const TUPLE_REPLY: u16 = 2;
const ID: u16 = 12;
const ZONE: u16 = 18;
const FILTER: u16 = 25;
const TUPLE_IP: u16 = 1;
const TUPLE_PROTO: u16 = 2;
const PROTO_NUM: u16 = 1;
const PROTO_SRC_PORT: u16 = 2;
const PROTO_DST_PORT: u16 = 3;
const FILTER_ORIG_FLAGS: u16 = 1;
const FILTER_REPLY_FLAGS: u16 = 2;
/// `CTA_FILTER_F_CTA_PROTO_NUM` and `_DST_PORT`.
const BY_PROTOCOL: u32 = 1 << 3;
const BY_DST_PORT: u32 = 1 << 5;
/// How often a listing that changed while it was written is read again. What is missed then is new, and has seen the rules.
const ATTEMPTS: usize = 4;

/// Which connections go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stale<'a> {
    /// Those to the host port that do not lead where it leads now.
    NotTo(&'a Mapping),
    /// Those from the host port to this pod.
    To {
        /// The node's port.
        host_port: u16,
        /// The node's address, if only one has the port.
        host_ip: Option<IpAddr>,
        /// The pod's address.
        pod: IpAddr,
    },
}

impl Stale<'_> {
    fn host_port(&self) -> u16 {
        match self {
            Stale::NotTo(mapping) => mapping.host_port,
            Stale::To { host_port, .. } => *host_port,
        }
    }

    fn is_v4(&self) -> bool {
        match self {
            Stale::NotTo(mapping) => mapping.target.is_ipv4(),
            Stale::To { pod, .. } => pod.is_ipv4(),
        }
    }

    fn is(&self, entry: &Entry, is_local: &mut dyn FnMut(IpAddr) -> bool) -> bool {
        let to =
            |host: Option<IpAddr>, port: u16| entry.to.port() == port && host.is_none_or(|host| host == entry.to.ip());
        match self {
            Stale::NotTo(mapping) => {
                // Others' connections to the same port elsewhere (DNS servers) only pass through the node.
                to(mapping.host_ip, mapping.host_port) && entry.answers != mapping.target && is_local(entry.to.ip())
            }
            Stale::To { host_port, host_ip, pod } => to(*host_ip, *host_port) && entry.answers.ip() == *pod,
        }
    }
}

/// A UDP connection.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    /// Where its first datagram was sent.
    to: SocketAddr,
    /// Who answers: not the same where the destination was translated.
    answers: SocketAddr,
    /// What names it when it is to be deleted.
    name: Vec<u8>,
}

/// Deletes stale connections, those of `stale` and no others. How many went.
///
/// # Errors
/// The kernel's.
pub fn flush(stale: &[Stale<'_>]) -> io::Result<usize> {
    let mut deleted = 0;
    for v4 in [true, false] {
        let stale: Vec<&Stale<'_>> = stale.iter().filter(|stale| stale.is_v4() == v4).collect();
        if !stale.is_empty() {
            deleted += flush_family(v4, &stale)?;
        }
    }
    Ok(deleted)
}

fn flush_family(v4: bool, stale: &[&Stale<'_>]) -> io::Result<usize> {
    let mut wire = Wire::open(NETLINK_NETFILTER)?;
    let mut host = None;
    let mut is_local = |address: IpAddr| {
        let host = host.get_or_insert_with(Netlink::new).as_ref();
        host.is_ok_and(|host| host.way_to(address).is_ok_and(|way| way.is_some_and(|way| way.local)))
    };
    let mut ports: Vec<u16> = stale.iter().map(|stale| stale.host_port()).collect();
    ports.dedup();
    let port = match ports.as_slice() {
        [port] => Some(*port),
        _ => None,
    };
    let mut deleted = 0;
    for _ in 0..ATTEMPTS {
        let (whole, entries) = list(&mut wire, v4, port)?;
        for entry in entries.iter().filter(|entry| stale.iter().any(|stale| stale.is(entry, &mut is_local))) {
            match wire.ask(DELETE, ACK, &entry.name, &mut |_| {}) {
                Ok(_) => deleted += 1,
                Err(e) if e.raw_os_error() == Some(libc::ENOENT) => {}
                Err(e) => return Err(e),
            }
        }
        if whole {
            break;
        }
    }
    Ok(deleted)
}

/// The UDP connections of a family, to `port` if there is only one to ask for.
fn list(wire: &mut Wire, v4: bool, port: Option<u16>) -> io::Result<(bool, Vec<Entry>)> {
    let header = header(v4);
    let mut request = header.clone();
    put_nested(&mut request, TUPLE_ORIG, |tuple| {
        put_nested(tuple, TUPLE_PROTO, |proto| {
            put(proto, PROTO_NUM, &[Protocol::Udp.number()]);
            if let Some(port) = port {
                put(proto, PROTO_DST_PORT, &port.to_be_bytes());
            }
        });
    });
    put_nested(&mut request, FILTER, |filter| {
        let flags = BY_PROTOCOL | if port.is_some() { BY_DST_PORT } else { 0 };
        put(filter, FILTER_ORIG_FLAGS, &flags.to_ne_bytes());
        put(filter, FILTER_REPLY_FLAGS, &0u32.to_ne_bytes());
    });
    let mut entries = Vec::new();
    let mut take =
        |answer: &[u8]| entries.extend(parse(v4, answer).filter(|e| port.is_none_or(|port| e.to.port() == port)));
    let whole = match wire.ask(GET, DUMP, &request, &mut take) {
        // The filter came with Linux 5.8; what an older kernel lists is filtered above.
        Err(e) if matches!(e.raw_os_error(), Some(libc::EINVAL | libc::EOPNOTSUPP)) => {
            wire.ask(GET, DUMP, &header, &mut take)?
        }
        asked => asked?,
    };
    Ok((whole, entries))
}

fn header(v4: bool) -> Vec<u8> {
    let family = if v4 { libc::AF_INET } else { libc::AF_INET6 };
    vec![family as u8, 0, 0, 0]
}

fn parse(v4: bool, answer: &[u8]) -> Option<Entry> {
    let attributes = answer.get(NFGENMSG..)?;
    let original = find(attributes, TUPLE_ORIG)?;
    let proto = find(original, TUPLE_PROTO)?;
    if find(proto, PROTO_NUM)? != [Protocol::Udp.number()] {
        return None;
    }
    let mut name = header(v4);
    put(&mut name, TUPLE_ORIG | 0x8000, original);
    for kind in [ID, ZONE] {
        if let Some(value) = find(attributes, kind) {
            put(&mut name, kind, value);
        }
    }
    let to = end(v4, original, 1, PROTO_DST_PORT)?;
    let answers = end(v4, find(attributes, TUPLE_REPLY)?, 0, PROTO_SRC_PORT)?;
    Some(Entry { to, answers, name })
}

/// One end of a tuple; `side` is 0 for the source, 1 for the destination.
fn end(v4: bool, tuple: &[u8], side: u16, port: u16) -> Option<SocketAddr> {
    // CTA_IP_V4_SRC is 1, CTA_IP_V4_DST 2, CTA_IP_V6_SRC 3, CTA_IP_V6_DST 4.
    let address = find(find(tuple, TUPLE_IP)?, side + if v4 { 1 } else { 3 })?;
    let address: IpAddr = match v4 {
        true => <[u8; 4]>::try_from(address).ok()?.into(),
        false => <[u8; 16]>::try_from(address).ok()?.into(),
    };
    let port = find(find(tuple, TUPLE_PROTO)?, port)?.first_chunk().map(|bytes| u16::from_be_bytes(*bytes))?;
    Some(SocketAddr::new(address, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(to: &str, answers: &str) -> Entry {
        Entry { to: to.parse().unwrap(), answers: answers.parse().unwrap(), name: Vec::new() }
    }

    #[test]
    fn only_connections_of_the_port_are_stale() {
        let mapping = |host_ip: Option<&str>| Mapping {
            protocol: Protocol::Udp,
            host_ip: host_ip.map(|text| text.parse().unwrap()),
            host_port: 53,
            target: "10.1.0.2:5353".parse().unwrap(),
        };
        let mut local =
            |address: IpAddr| address == IpAddr::from([192, 0, 2, 1]) || address == IpAddr::from([192, 0, 2, 9]);
        let any = mapping(None);
        for (to, answers, stale) in [
            ("192.0.2.1:53", "192.0.2.1:53", true),
            ("192.0.2.1:53", "10.1.0.9:5353", true),
            ("192.0.2.1:53", "10.1.0.2:5353", false),
            ("192.0.2.1:54", "192.0.2.1:54", false),
            ("8.8.8.8:53", "8.8.8.8:53", false),
        ] {
            assert_eq!(Stale::NotTo(&any).is(&entry(to, answers), &mut local), stale, "{to} {answers}");
        }
        let one = mapping(Some("192.0.2.1"));
        assert!(!Stale::NotTo(&one).is(&entry("192.0.2.9:53", "192.0.2.9:53"), &mut local));
        let gone = Stale::To { host_port: 53, host_ip: None, pod: "10.1.0.2".parse().unwrap() };
        assert!(gone.is(&entry("192.0.2.1:53", "10.1.0.2:5353"), &mut local));
        assert!(!gone.is(&entry("192.0.2.1:53", "10.1.0.3:5353"), &mut local));
        assert!(!gone.is(&entry("192.0.2.1:54", "10.1.0.2:5353"), &mut local));
    }
}
