//! What one attachment has in the table, as elements.

use std::hash::Hasher;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use nft::{Element, ElementInfo, Key, RawData, Value};
use siphasher::sip::SipHasher13;

use super::layout;
use crate::mapping::{Mapping, Protocol};

/// A host port of an attachment, as its entry in the map of owners tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The protocol.
    pub protocol: Protocol,
    /// The node's port.
    pub host_port: u16,
    /// The node's address; `None` for every one of the family.
    pub host_ip: Option<IpAddr>,
    /// The pod's address, whose family is the record's.
    pub pod: IpAddr,
    /// The node's interface to the pod, if packets may come back by it; may be empty.
    pub via: String,
}

/// Stands for no interface: the kernel takes no empty name for one in a set, and none that has this in it on a link.
const NO_INTERFACE: &str = "/";

/// Names a claim: whether IPv4, protocol, port.
pub type ClaimKey = (bool, Protocol, u16);

impl Record {
    /// What a mapping is recorded as.
    pub fn of(mapping: &Mapping, via: &str) -> Record {
        Record {
            protocol: mapping.protocol,
            host_port: mapping.host_port,
            host_ip: mapping.host_ip,
            pod: mapping.target.ip(),
            via: via.to_owned(),
        }
    }

    /// Reads the data of an entry of the map of owners.
    pub fn from_data(data: &[u8]) -> Option<Record> {
        let key = Key::from_bytes(&layout::OWNED_DATA, data)?;
        let [Value::Proto(protocol), Value::Port(host_port), Value::Ipv6(host), Value::Ipv6(pod), Value::IfName(via)] =
            <[Value; 5]>::try_from(key.0).ok()?
        else {
            return None;
        };
        Some(Record {
            protocol: Protocol::from_number(protocol)?,
            host_port,
            host_ip: Some(host.to_canonical()).filter(|host| !host.is_unspecified()),
            pod: pod.to_canonical(),
            via: if via == NO_INTERFACE { String::new() } else { via },
        })
    }

    /// Reads a record back from the mapping itself, which does not know the interface.
    pub fn from_port(set: &str, element: &ElementInfo) -> Option<Record> {
        for v4 in [true, false] {
            let (key, host_ip) = if set == layout::any_map(v4) {
                (Key::from_bytes(&layout::ANY_KEY, &element.key)?.0, None)
            } else if set == layout::address_map(v4) {
                let mut key = Key::from_bytes(&layout::address_key(v4), &element.key)?.0;
                let host_ip = address(&key.remove(0));
                (key, host_ip)
            } else {
                continue;
            };
            let [Value::Proto(protocol), Value::Port(host_port)] = <[Value; 2]>::try_from(key).ok()? else {
                return None;
            };
            let pod = target(element)?.ip();
            let protocol = Protocol::from_number(protocol)?;
            return Some(Record { protocol, host_port, host_ip, pod, via: String::new() });
        }
        None
    }

    fn data(&self) -> Key {
        let mapped = |address: IpAddr| match address {
            IpAddr::V4(v4) => v4.to_ipv6_mapped(),
            IpAddr::V6(v6) => v6,
        };
        let host = self.host_ip.map_or(Ipv6Addr::UNSPECIFIED, mapped);
        Key::concat([
            Value::Proto(self.protocol.number()),
            Value::Port(self.host_port),
            Value::Ipv6(host),
            Value::Ipv6(mapped(self.pod)),
            Value::from(if self.via.is_empty() { NO_INTERFACE } else { &self.via }),
        ])
    }

    /// Its entry in the map of owners, the `number`th of this owner.
    pub fn entry(&self, number: u16, tag: &str) -> (&'static str, Element) {
        (layout::OWNED, Element::new(entry_key(tag, number)).value(self.data()).owner(tag))
    }

    /// Where the port is mapped: map and key.
    pub fn port_key(&self) -> (&'static str, Key) {
        let (protocol, port) = (Value::Proto(self.protocol.number()), Value::Port(self.host_port));
        let v4 = self.pod.is_ipv4();
        match self.host_ip {
            None => (layout::any_map(v4), Key::concat([protocol, port])),
            Some(host) => (layout::address_map(v4), Key::concat([host.into(), protocol, port])),
        }
    }

    /// Where the port is if its connections go by conditions: map and key.
    pub fn gate_key(&self) -> (&'static str, Key) {
        match self.host_ip {
            None => (layout::GATE_ANY, claim_key(self.claim())),
            Some(_) => (layout::gate_map(self.pod.is_ipv4()), self.port_key().1),
        }
    }

    /// Every key that an element of its pod, and its gate, may have, for whatever reason.
    pub fn pod_keys(&self) -> Vec<(&'static str, Key)> {
        let mut keys = vec![self.gate_key(), (layout::all_set(self.pod.is_ipv4()), self.pod.into()), itself(self.pod)];
        if self.pod.is_ipv4() {
            keys.push((layout::LOCAL, self.pod.into()));
        }
        if !self.via.is_empty() {
            keys.push(hairpin(&self.via, self.pod));
        }
        keys
    }

    /// The claim that it is part of.
    pub fn claim(&self) -> ClaimKey {
        (self.pod.is_ipv4(), self.protocol, self.host_port)
    }
}

/// The key of the set of pods that reach themselves.
pub fn itself(pod: IpAddr) -> (&'static str, Key) {
    (layout::itself_set(pod.is_ipv4()), Key::concat([pod.into(), pod.into()]))
}

/// The key of the set of pods reached by the interface a packet came in by.
pub fn hairpin(via: &str, pod: IpAddr) -> (&'static str, Key) {
    let key = Key::concat([Value::from(via), Value::from(via), pod.into()]);
    (layout::hairpin_set(pod.is_ipv4()), key)
}

/// The key of a claim.
pub fn claim_key((v4, protocol, port): ClaimKey) -> Key {
    let family = Value::NfProto(if v4 { 2 } else { 10 });
    Key::concat([family, Value::Proto(protocol.number()), Value::Port(port)])
}

/// The key of an owner's `number`th entry. Sixty bits of a hash stand for the owner; the entry's own comment tells it.
pub fn entry_key(tag: &str, number: u16) -> Key {
    let mut hasher = SipHasher13::new();
    hasher.write(tag.as_bytes());
    Key::concat([Value::IfName(format!("{:015x}", hasher.finish() >> 4)), Value::Port(number)])
}

/// Where a mapping leads.
pub fn target(element: &ElementInfo) -> Option<SocketAddr> {
    let Some(RawData::Value(data)) = &element.data else { return None };
    let v4 = data.len() == 8;
    let values = Key::from_bytes(&layout::target(v4), data)?.0;
    let [pod, Value::Port(port)] = values.as_slice() else { return None };
    Some(SocketAddr::new(address(pod)?, *port))
}

fn address(value: &Value) -> Option<IpAddr> {
    match value {
        Value::Ipv4(address) => Some((*address).into()),
        Value::Ipv6(address) => Some((*address).into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_reads_back() {
        for (host_ip, pod) in
            [(None, "10.1.0.2"), (Some("192.0.2.1"), "10.1.0.2"), (None, "fd00::2"), (Some("2001:db8::1"), "fd00::2")]
        {
            let record = Record {
                protocol: Protocol::Udp,
                host_port: 8080,
                host_ip: host_ip.map(|text| text.parse().unwrap()),
                pod: pod.parse().unwrap(),
                via: if host_ip.is_some() { "cni0" } else { "" }.to_owned(),
            };
            assert_eq!(Record::from_data(&record.data().to_bytes()), Some(record.clone()));
            let (set, key) = record.port_key();
            let pod = Key::concat([record.pod.into(), Value::Port(80)]).to_bytes();
            let found = ElementInfo {
                key: key.to_bytes(),
                to: None,
                interval_end: false,
                data: Some(RawData::Value(pod)),
                owner: None,
            };
            assert_eq!(Record::from_port(set, &found), Some(Record { via: String::new(), ..record }));
        }
    }

    #[test]
    fn an_owners_key_is_stable() {
        // A changed value here would make DEL miss the ports of every running pod on an upgrade.
        assert_eq!(entry_key("podlink:net/c1/eth0", 1).to_string(), "\"11588ba9826256e\" . 1");
    }
}
