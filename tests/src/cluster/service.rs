//! A Service and its endpoints, as the API server tells every node's proxy.

use std::net::IpAddr;

use sha2::{Digest, Sha256};

use super::WiredPod;

/// One port of a Service.
#[derive(Debug, Clone)]
pub struct Service {
    /// `namespace/name`.
    pub name: String,
    /// `tcp` or `udp`.
    pub protocol: &'static str,
    /// The port at the cluster IP and at the load balancer's address.
    pub port: u16,
    /// The cluster IP of each family.
    pub cluster_ip: [IpAddr; 2],
    /// The port on every node's addresses.
    pub node_port: Option<u16>,
    /// The load balancer's address of each family.
    pub load_balancer: Option<[IpAddr; 2]>,
    /// `externalTrafficPolicy: Local`: connections from outside go to the node's own pods only, and keep their source.
    pub local: bool,
    /// `sessionAffinity: ClientIP`, and for how many seconds.
    pub affinity: Option<u32>,
    /// The pods behind it.
    pub endpoints: Vec<Endpoint>,
}

/// A pod behind a Service.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// The number of the pod's node.
    pub node: usize,
    /// The pod's addresses.
    pub addresses: [IpAddr; 2],
    /// The pod's port.
    pub port: u16,
}

impl Service {
    /// The TCP Service `default/<name>` with the cluster IPs `10.96.0.<last>` and `fd00:96::<last>`, and nothing more.
    pub fn tcp(name: &str, last: u8, port: u16) -> Self {
        let cluster_ip = [super::ip(&format!("10.96.0.{last}")), super::ip(&format!("fd00:96::{last}"))];
        Self {
            name: format!("default/{name}"),
            protocol: "tcp",
            port,
            cluster_ip,
            node_port: None,
            load_balancer: None,
            local: false,
            affinity: None,
            endpoints: Vec::new(),
        }
    }

    /// The same with pods behind it, given with the numbers of their nodes, each at `port`.
    pub fn to(mut self, pods: &[(usize, &WiredPod)], port: u16) -> Self {
        self.endpoints =
            pods.iter().map(|(node, pod)| Endpoint { node: *node, addresses: pod.addresses, port }).collect();
        self
    }

    /// Sixteen characters that stand for the Service in names of chains, which iptables limits to 28 characters.
    pub(super) fn hash(&self) -> String {
        short_hash(&format!("{}/{}", self.name, self.protocol))
    }

    /// The same for one of its endpoints.
    pub(super) fn endpoint_hash(&self, endpoint: &Endpoint) -> String {
        short_hash(&format!("{}/{}/{}:{}", self.name, self.protocol, endpoint.addresses[0], endpoint.port))
    }
}

fn short_hash(text: &str) -> String {
    Sha256::digest(text).iter().take(8).map(|byte| format!("{byte:02X}")).collect()
}
