//! kube-proxy's nftables mode: a map from address, protocol and port to the chain of a Service, however many there are.

use std::fmt::Write;
use std::net::SocketAddr;

use super::proxy::MASQUERADE;
use super::{CLUSTER_CIDR, Endpoint, Service};

/// The chains that are the same for all Services; `IP` stands for the family, `ADDR` for the type of its addresses.
const BASE: &str = "
  set cluster-ips { type ADDR; }
  set nodeport-ips { type ADDR; }
  map service-ips { type ADDR . inet_proto . inet_service : verdict; }
  map service-nodeports { type inet_proto . inet_service : verdict; }
  map no-endpoint-services { type ADDR . inet_proto . inet_service : verdict; }
  map no-endpoint-nodeports { type inet_proto . inet_service : verdict; }
  chain filter-input {
    type filter hook input priority 0;
    ct state new jump nodeport-endpoints-check
    ct state new jump service-endpoints-check
  }
  chain filter-forward {
    type filter hook forward priority 0;
    ct state new jump service-endpoints-check
    ct state new jump cluster-ips-check
  }
  chain filter-output { type filter hook output priority -110; ct state new jump service-endpoints-check; }
  chain filter-output-post-dnat { type filter hook output priority -90; ct state new jump cluster-ips-check; }
  chain nat-prerouting { type nat hook prerouting priority dstnat; jump services; }
  chain nat-output { type nat hook output priority -100; jump services; }
  chain nat-postrouting { type nat hook postrouting priority srcnat; jump masquerading; }
  chain nodeport-endpoints-check { IP daddr @nodeport-ips meta l4proto . th dport vmap @no-endpoint-nodeports; }
  chain service-endpoints-check { IP daddr . meta l4proto . th dport vmap @no-endpoint-services; }
  chain cluster-ips-check { IP daddr @cluster-ips reject; }
  chain services {
    IP daddr . meta l4proto . th dport vmap @service-ips
    IP daddr @nodeport-ips meta l4proto . th dport vmap @service-nodeports
  }
  chain mark-for-masquerade { meta mark set meta mark or MASQUERADE; }
  chain masquerading {
    meta mark and MASQUERADE == 0 return
    meta mark set meta mark xor MASQUERADE
    masquerade fully-random
  }
  chain reject-chain { reject; }
";

/// The table of one family as a whole, for `nft -f`, in place of the one that was there. kube-proxy itself changes its table
/// piece by piece, which a test with a few Services does not need.
pub(super) fn table(family: usize, node: usize, address: &str, services: &[Service]) -> String {
    let (ip, addresses) = [("ip", "ipv4_addr"), ("ip6", "ipv6_addr")][family];
    let table = format!("{ip} kube-proxy");
    let mut body = BASE.replace("ADDR", addresses).replace("IP ", &format!("{ip} ")).replace("MASQUERADE", MASQUERADE);
    let mut elements = Elements::default();
    elements.add("nodeport-ips", address.to_owned());
    // Chains before those that lead to them.
    for service in services {
        let local: Vec<&Endpoint> = service.endpoints.iter().filter(|endpoint| endpoint.node == node).collect();
        if !service.endpoints.is_empty() {
            chains(&mut body, ip, family, service, &local);
        }
        lead(&mut elements, family, service, local.is_empty());
    }
    format!("add table {table}\ndelete table {table}\ntable {table} {{{body}}}\n{}", elements.text(&table))
}

/// Names as kube-proxy's, with the Service in clear text.
fn chain(kind: &str, service: &Service) -> String {
    format!("{kind}-{}-{}/{}/{}", service.hash(), service.name, service.protocol, service.port)
}

fn endpoint_chain(service: &Service, endpoint: &Endpoint) -> String {
    // Their names may not have the colons of an IPv6 address.
    format!("endpoint-{}-{}/{}", service.endpoint_hash(endpoint), service.name, service.protocol)
}

fn affinity_set(service: &Service, endpoint: &Endpoint) -> String {
    format!("affinity-{}-{}/{}", service.endpoint_hash(endpoint), service.name, service.protocol)
}

fn chains(body: &mut String, ip: &str, family: usize, service: &Service, local: &[&Endpoint]) {
    let (pods, protocol) = (CLUSTER_CIDR[family], service.protocol);
    let all: Vec<&Endpoint> = service.endpoints.iter().collect();
    for endpoint in &all {
        let address = endpoint.addresses[family];
        let remember = match service.affinity {
            Some(seconds) => {
                let (set, kind) = (affinity_set(service, endpoint), ["ipv4_addr", "ipv6_addr"][family]);
                let _ = writeln!(body, "  set {set} {{ type {kind}; flags dynamic,timeout; timeout {seconds}s; }}");
                format!("update @{set} {{ {ip} saddr }}; ")
            }
            None => String::new(),
        };
        let to = SocketAddr::new(address, endpoint.port);
        let _ = writeln!(
            body,
            // A pod that reaches itself: without another source its answer would never leave it.
            "  chain {} {{ {ip} saddr {address} jump mark-for-masquerade; {remember}meta l4proto {protocol} dnat to {to}; }}",
            endpoint_chain(service, endpoint)
        );
    }
    let (cluster, cluster_ip) = (chain("service", service), service.cluster_ip[family]);
    let _ = writeln!(
        body,
        "  chain {cluster} {{ {ip} daddr {cluster_ip} {protocol} dport {} {ip} saddr != {pods} jump mark-for-masquerade; {} }}",
        service.port,
        spread(ip, service, &all)
    );
    // The endpoint may be on another node and must answer through this one, or else be one of this node's. A node without any
    // drops such a connection in its filter chains.
    let external = if !service.local {
        format!("jump mark-for-masquerade; goto {cluster};")
    } else {
        let own = if local.is_empty() { String::new() } else { spread(ip, service, local) };
        format!(
            "{ip} saddr {pods} goto {cluster}; fib saddr type local jump mark-for-masquerade; \
             fib saddr type local goto {cluster}; {own}"
        )
    };
    let _ = writeln!(body, "  chain {} {{ {external} }}", chain("external", service));
}

/// A verdict for each random number, after the endpoints that know the client.
fn spread(ip: &str, service: &Service, endpoints: &[&Endpoint]) -> String {
    let mut rules = String::new();
    for endpoint in endpoints.iter().filter(|_| service.affinity.is_some()) {
        let _ = write!(
            rules,
            "{ip} saddr @{} goto {}; ",
            affinity_set(service, endpoint),
            endpoint_chain(service, endpoint)
        );
    }
    let numbered = endpoints.iter().enumerate();
    let verdicts: Vec<String> = numbered.map(|(n, to)| format!("{n} : goto {}", endpoint_chain(service, to))).collect();
    let _ = write!(rules, "numgen random mod {} vmap {{ {} }};", verdicts.len(), verdicts.join(", "));
    rules
}

/// What leads to the chains of a Service, or refuses it when there is nothing behind it.
fn lead(elements: &mut Elements, family: usize, service: &Service, none_here: bool) {
    let (protocol, port) = (service.protocol, service.port);
    let cluster_ip = format!("{} . {protocol} . {port}", service.cluster_ip[family]);
    let balanced = service.load_balancer.map(|address| format!("{} . {protocol} . {port}", address[family]));
    let node_port = service.node_port.map(|number| format!("{protocol} . {number}"));
    if service.endpoints.is_empty() {
        for key in [Some(cluster_ip), balanced].into_iter().flatten() {
            elements.add("no-endpoint-services", format!("{key} : goto reject-chain"));
        }
        node_port
            .into_iter()
            .for_each(|key| elements.add("no-endpoint-nodeports", format!("{key} : goto reject-chain")));
        return;
    }
    let external = chain("external", service);
    // What still goes there after translation is for a port that the Service does not have.
    elements.add("cluster-ips", service.cluster_ip[family].to_string());
    elements.add("service-ips", format!("{cluster_ip} : goto {}", chain("service", service)));
    if let Some(key) = balanced {
        elements.add("service-ips", format!("{key} : goto {external}"));
        if service.local && none_here {
            elements.add("no-endpoint-services", format!("{key} : drop"));
        }
    }
    if let Some(key) = node_port {
        elements.add("service-nodeports", format!("{key} : goto {external}"));
        if service.local && none_here {
            elements.add("no-endpoint-nodeports", format!("{key} : drop"));
        }
    }
}

/// Elements of sets and maps, added after the chains that they name.
#[derive(Default)]
struct Elements(Vec<(&'static str, String)>);

impl Elements {
    fn add(&mut self, set: &'static str, element: String) {
        self.0.push((set, element));
    }

    fn text(&self, table: &str) -> String {
        self.0.iter().map(|(set, element)| format!("add element {table} {set} {{ {element} }}\n")).collect()
    }
}
