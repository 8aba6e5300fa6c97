//! Ports of the node and where they lead.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use cni::{Attachment, Cidr, CniResult, Error, ErrorCode};

/// A transport protocol that has ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl Protocol {
    const ALL: [Protocol; 3] = [Protocol::Tcp, Protocol::Udp, Protocol::Sctp];

    /// Reads its name; Kubernetes writes it in capitals.
    pub fn parse(text: &str) -> Option<Protocol> {
        Protocol::ALL.into_iter().find(|protocol| protocol.name().eq_ignore_ascii_case(text))
    }

    /// The protocol of this number (IANA).
    pub fn from_number(number: u8) -> Option<Protocol> {
        Protocol::ALL.into_iter().find(|protocol| protocol.number() == number)
    }

    /// Its number (IANA).
    pub fn number(self) -> u8 {
        match self {
            Protocol::Tcp => nft::proto::TCP,
            Protocol::Udp => nft::proto::UDP,
            Protocol::Sctp => nft::proto::SCTP,
        }
    }

    /// Its name as iptables has it.
    pub fn name(self) -> &'static str {
        match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
            Protocol::Sctp => "sctp",
        }
    }
}

/// One of `runtimeConfig.portMappings`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortMapping {
    /// `protocol`.
    pub protocol: Protocol,
    /// `hostPort`.
    pub host_port: u16,
    /// `containerPort`.
    pub container_port: u16,
    /// `hostIP`; `None` for every address of the node, an unspecified address for every one of that family.
    pub host_ip: Option<IpAddr>,
    /// Its place in the list, for messages.
    pub index: usize,
}

impl PortMapping {
    /// Whether there are packets that both are for.
    pub fn overlaps(&self, other: &PortMapping) -> bool {
        let addresses = match (self.host_ip, other.host_ip) {
            (Some(a), Some(b)) => a == b || a.is_ipv4() == b.is_ipv4() && (a.is_unspecified() || b.is_unspecified()),
            _ => true,
        };
        addresses && self.protocol == other.protocol && self.host_port == other.host_port
    }
}

/// As in `8080/tcp` or `192.0.2.1:8080/tcp`.
impl fmt::Display for PortMapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host_ip {
            None => write!(f, "{}", self.host_port)?,
            Some(address) => write!(f, "{}", SocketAddr::new(address, self.host_port))?,
        }
        write!(f, "/{}", self.protocol.name())
    }
}

/// A port mapping in one address family: what is kept in the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// The protocol.
    pub protocol: Protocol,
    /// The node's address; `None` for every one of the family.
    pub host_ip: Option<IpAddr>,
    /// The node's port.
    pub host_port: u16,
    /// The pod's address, whose family is the mapping's, and port.
    pub target: SocketAddr,
}

impl Mapping {
    /// Whether there are packets that both are for.
    pub fn overlaps(&self, other: &Mapping) -> bool {
        self.protocol == other.protocol
            && self.host_port == other.host_port
            && self.target.is_ipv4() == other.target.is_ipv4()
            && self.host_ip.zip(other.host_ip).is_none_or(|(a, b)| a == b)
    }
}

/// As in `8080/tcp of any IPv4 address`.
impl fmt::Display for Mapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{} of ", self.host_port, self.protocol.name())?;
        match self.host_ip {
            Some(address) => write!(f, "{address}"),
            None if self.target.is_ipv4() => f.write_str("any IPv4 address"),
            None => f.write_str("any IPv6 address"),
        }
    }
}

/// The addresses of a pod that ports can lead to: the first of each family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PodAddresses {
    /// The IPv4 address with its subnet.
    pub v4: Option<Cidr>,
    /// The IPv6 address with its subnet.
    pub v6: Option<Cidr>,
}

impl PodAddresses {
    /// Those of the attachment's interface in the result of the plugins before.
    pub fn of(result: &CniResult, attachment: &Attachment) -> PodAddresses {
        let mut found = PodAddresses::default();
        for ip in &result.ips {
            let interface = ip.interface.and_then(|index| result.interfaces.get(index));
            if interface.is_some_and(|known| known.name != attachment.ifname || known.sandbox.is_empty()) {
                continue;
            }
            let place = if ip.address.ip().is_ipv4() { &mut found.v4 } else { &mut found.v6 };
            place.get_or_insert(ip.address);
        }
        found
    }

    /// Both, as far as there are any.
    pub fn iter(&self) -> impl Iterator<Item = Cidr> {
        self.v4.into_iter().chain(self.v6)
    }

    /// What `ports` are for this pod: each in every family that it is for.
    ///
    /// # Errors
    /// Code 7 for a `hostIP` of a family that the pod has no address of: it could lead nowhere.
    pub fn map(&self, ports: &[PortMapping]) -> Result<Vec<Mapping>, Error> {
        let mut mappings = Vec::new();
        for port in ports {
            if let Some(host_ip) = port.host_ip
                && !self.iter().any(|pod| pod.ip().is_ipv4() == host_ip.is_ipv4())
            {
                let family = if host_ip.is_ipv4() { "IPv4" } else { "IPv6" };
                let key = format!("runtimeConfig.portMappings[{}].hostIP", port.index);
                let msg = format!("{key}: {host_ip} cannot lead to the pod, which has no {family} address");
                return Err(Error::new(ErrorCode::INVALID_CONFIG, msg));
            }
            let of_family = |pod: &Cidr| port.host_ip.is_none_or(|ip| ip.is_ipv4() == pod.ip().is_ipv4());
            mappings.extend(self.iter().filter(of_family).map(|pod| Mapping {
                protocol: port.protocol,
                host_ip: port.host_ip.filter(|ip| !ip.is_unspecified()),
                host_port: port.host_port,
                target: SocketAddr::new(pod.ip(), port.container_port),
            }));
        }
        Ok(mappings)
    }
}
