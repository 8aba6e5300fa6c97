//! Which ports of the node lead to a pod, as portmap's elements and rules tell it.

use std::fmt;
use std::net::IpAddr;

use nft::{ElementInfo, FieldType, Key, RawData, Value};

/// A port of the node that leads to a pod.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostPort {
    /// `tcp`, `udp`, `sctp`, or the protocol's number.
    pub protocol: String,
    /// The node's port.
    pub port: u16,
    /// The address of the node that has it; `None` for every one.
    pub host: Option<IpAddr>,
    /// The pod's port, where the rule tells it.
    pub pod_port: Option<u16>,
}

/// As `docker ps` shows them: `tcp 192.0.2.1:8080 → 80`.
impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.protocol)?;
        match self.host {
            Some(IpAddr::V6(host)) => write!(f, "[{host}]:")?,
            Some(host) => write!(f, "{host}:")?,
            None => {}
        }
        write!(f, "{}", self.port)?;
        self.pod_port.map_or(Ok(()), |port| write!(f, " → {port}"))
    }
}

impl HostPort {
    /// Reads an element of one of portmap's maps of ports; `None` for those of other sets (`plugins/portmap/src/native/layout.rs`).
    pub fn of_element(set: &str, element: &ElementInfo) -> Option<HostPort> {
        use FieldType::{InetProto, InetService, Ipv4Addr, Ipv6Addr};
        let (address, has_host) = match set {
            "any4" => (Ipv4Addr, false),
            "any6" => (Ipv6Addr, false),
            "address4" => (Ipv4Addr, true),
            "address6" => (Ipv6Addr, true),
            _ => return None,
        };
        let types = [address, InetProto, InetService];
        let key = Key::from_bytes(if has_host { &types } else { &types[1..] }, &element.key)?;
        let (host, protocol, port) = match *key.0.as_slice() {
            [Value::Proto(protocol), Value::Port(port)] => (None, protocol, port),
            [Value::Ipv4(host), Value::Proto(protocol), Value::Port(port)] => (Some(host.into()), protocol, port),
            [Value::Ipv6(host), Value::Proto(protocol), Value::Port(port)] => (Some(host.into()), protocol, port),
            _ => return None,
        };
        let target = match &element.data {
            Some(RawData::Value(bytes)) => Key::from_bytes(&[address, InetService], bytes),
            _ => None,
        };
        let pod_port = target.and_then(|target| match target.0.as_slice() {
            [_, Value::Port(port)] => Some(*port),
            _ => None,
        });
        let protocol = match protocol {
            nft::proto::TCP => "tcp".to_owned(),
            nft::proto::UDP => "udp".to_owned(),
            nft::proto::SCTP => "sctp".to_owned(),
            other => other.to_string(),
        };
        Some(HostPort { protocol, port, host, pod_port })
    }

    /// Reads an iptables rule with `-p PROTOCOL … --dports PORT,PORT`, which leads to a chain of its pod.
    pub fn of_line(spec: &str) -> Vec<HostPort> {
        let after = |option: &str| {
            let mut words = spec.split(' ').skip_while(|word| *word != option);
            words.nth(1)
        };
        let (Some(protocol), Some(ports)) = (after("-p"), after("--dports")) else { return Vec::new() };
        let ports = ports.split(',').filter_map(|port| port.parse().ok());
        ports.map(|port| HostPort { protocol: protocol.to_owned(), port, host: None, pod_port: None }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn element(key: Key, data: Key) -> ElementInfo {
        let data = Some(RawData::Value(data.to_bytes()));
        ElementInfo { key: key.to_bytes(), to: None, interval_end: false, data, owner: None }
    }

    #[test]
    fn elements_tell_the_port() {
        let pod: IpAddr = "10.1.0.2".parse().unwrap();
        let target = Key::concat([pod.into(), Value::Port(80)]);
        let any = element(Key::concat([Value::Proto(6), Value::Port(8080)]), target.clone());
        assert_eq!(HostPort::of_element("any4", &any).unwrap().to_string(), "tcp 8080 → 80");
        let host: IpAddr = "192.0.2.1".parse().unwrap();
        let one = element(Key::concat([host.into(), Value::Proto(17), Value::Port(53)]), target);
        assert_eq!(HostPort::of_element("address4", &one).unwrap().to_string(), "udp 192.0.2.1:53 → 80");
        let (pod, host): (IpAddr, IpAddr) = ("fd00::2".parse().unwrap(), "2001:db8::1".parse().unwrap());
        let target = Key::concat([pod.into(), Value::Port(80)]);
        let one = element(Key::concat([host.into(), Value::Proto(6), Value::Port(81)]), target);
        assert_eq!(HostPort::of_element("address6", &one).unwrap().to_string(), "tcp [2001:db8::1]:81 → 80");
        assert_eq!(HostPort::of_element("claims", &one), None);
    }

    #[test]
    fn rules_of_iptables_tell_the_ports() {
        let spec =
            r#"-p tcp -m comment --comment "dnat name: \"net\" id: \"c1\"" -m multiport --dports 80,443 -j CNI-DN-a"#;
        let text: Vec<_> = HostPort::of_line(spec).iter().map(ToString::to_string).collect();
        assert_eq!(text, ["tcp 80", "tcp 443"]);
        assert!(HostPort::of_line("-s 10.1.0.2/32 -j ACCEPT").is_empty());
    }
}
