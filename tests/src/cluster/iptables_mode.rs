//! kube-proxy's iptables mode: `KUBE-SERVICES` leads to a chain for each Service, which leads to a chain for each endpoint.

use std::fmt::Write;

use super::proxy::MASQUERADE;
use super::{CLUSTER_CIDR, Endpoint, Service};

/// The jumps into kube-proxy's chains, for `iptables-restore --noflush`.
pub(super) fn jumps() -> String {
    "*nat\n\
     :KUBE-SERVICES - [0:0]\n\
     :KUBE-POSTROUTING - [0:0]\n\
     -A PREROUTING -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES\n\
     -A OUTPUT -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES\n\
     -A POSTROUTING -m comment --comment \"kubernetes postrouting rules\" -j KUBE-POSTROUTING\n\
     COMMIT\n\
     *filter\n\
     :KUBE-SERVICES - [0:0]\n\
     :KUBE-EXTERNAL-SERVICES - [0:0]\n\
     :KUBE-FORWARD - [0:0]\n\
     -A INPUT -m conntrack --ctstate NEW -j KUBE-EXTERNAL-SERVICES\n\
     -A FORWARD -m comment --comment \"kubernetes forwarding rules\" -j KUBE-FORWARD\n\
     -A FORWARD -m conntrack --ctstate NEW -j KUBE-SERVICES\n\
     -A FORWARD -m conntrack --ctstate NEW -j KUBE-EXTERNAL-SERVICES\n\
     -A OUTPUT -m conntrack --ctstate NEW -j KUBE-SERVICES\n\
     COMMIT\n"
        .to_owned()
}

/// The rules themselves, for `iptables-restore --noflush`: each chain that is named is emptied first. The chains of Services
/// and endpoints that are gone stay without a jump to them; kube-proxy takes them away later, too.
pub(super) fn rules(family: usize, node: usize, services: &[Service]) -> String {
    let mut nat = Chains::default();
    let mut filter = Chains::default();
    for chain in ["KUBE-SERVICES", "KUBE-NODEPORTS", "KUBE-MARK-MASQ", "KUBE-POSTROUTING"] {
        nat.chain(chain);
    }
    for chain in ["KUBE-SERVICES", "KUBE-EXTERNAL-SERVICES", "KUBE-FORWARD"] {
        filter.chain(chain);
    }
    filter.rule("KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP");
    filter.rule(&format!("KUBE-FORWARD -m mark --mark {MASQUERADE}/{MASQUERADE} -j ACCEPT"));
    filter.rule("KUBE-FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT");
    nat.rule(&format!("KUBE-POSTROUTING -m mark ! --mark {MASQUERADE}/{MASQUERADE} -j RETURN"));
    // A packet that passes here again must not be masqueraded again.
    nat.rule(&format!("KUBE-POSTROUTING -j MARK --xor-mark {MASQUERADE}"));
    nat.rule("KUBE-POSTROUTING -j MASQUERADE --random-fully");
    nat.rule(&format!("KUBE-MARK-MASQ -j MARK --or-mark {MASQUERADE}"));
    for service in services {
        let local: Vec<&Endpoint> = service.endpoints.iter().filter(|endpoint| endpoint.node == node).collect();
        refuse(&mut filter, family, service, service.local && local.is_empty());
        if !service.endpoints.is_empty() {
            of_service(&mut nat, family, service, &local);
        }
    }
    // After all others: a packet to a cluster IP is no packet to the node.
    nat.rule("KUBE-SERVICES -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS");
    format!("*filter\n{}*nat\n{}", filter.text(), nat.text())
}

fn of_service(nat: &mut Chains, family: usize, service: &Service, local: &[&Endpoint]) {
    let pods = CLUSTER_CIDR[family];
    let (hash, cluster_ip) = (service.hash(), service.cluster_ip[family]);
    let (cluster, external, own) = (format!("KUBE-SVC-{hash}"), format!("KUBE-EXT-{hash}"), format!("KUBE-SVL-{hash}"));
    let port = format!("-p {0} -m {0} --dport {1}", service.protocol, service.port);
    nat.chain(&cluster);
    nat.rule(&format!("KUBE-SERVICES -d {cluster_ip} {port} -j {cluster}"));
    nat.rule(&format!("{cluster} ! -s {pods} -d {cluster_ip} {port} -j KUBE-MARK-MASQ"));
    let all: Vec<&Endpoint> = service.endpoints.iter().collect();
    spread(nat, &cluster, service, &all);
    for endpoint in &all {
        let chain = endpoint_chain(service, endpoint);
        let address = endpoint.addresses[family];
        nat.chain(&chain);
        // A pod that reaches itself: without another source its answer would never leave it.
        nat.rule(&format!("{chain} -s {address} -j KUBE-MARK-MASQ"));
        let remember = service.affinity.map(|_| format!("-m recent --name {chain} --set ")).unwrap_or_default();
        let to = std::net::SocketAddr::new(address, endpoint.port);
        nat.rule(&format!("{chain} {remember}-p {0} -m {0} -j DNAT --to-destination {to}", service.protocol));
    }
    if service.node_port.is_none() && service.load_balancer.is_none() {
        return;
    }
    nat.chain(&external);
    if let Some(address) = service.load_balancer {
        nat.rule(&format!("KUBE-SERVICES -d {} {port} -j {external}", address[family]));
    }
    if let Some(node_port) = service.node_port {
        nat.rule(&format!("KUBE-NODEPORTS -p {0} -m {0} --dport {node_port} -j {external}", service.protocol));
    }
    if service.local {
        // From within the cluster, every endpoint will do.
        nat.rule(&format!("{external} -s {pods} -j {cluster}"));
        nat.rule(&format!("{external} -m addrtype --src-type LOCAL -j KUBE-MARK-MASQ"));
        nat.rule(&format!("{external} -m addrtype --src-type LOCAL -j {cluster}"));
        if !local.is_empty() {
            nat.chain(&own);
            nat.rule(&format!("{external} -j {own}"));
            spread(nat, &own, service, local);
        }
    } else {
        // The endpoint may be on another node, and must answer through this one.
        nat.rule(&format!("{external} -j KUBE-MARK-MASQ"));
        nat.rule(&format!("{external} -j {cluster}"));
    }
}

/// The n-th of k endpoints takes one of k-n connections that have come so far.
fn spread(nat: &mut Chains, chain: &str, service: &Service, endpoints: &[&Endpoint]) {
    for endpoint in endpoints {
        if let Some(seconds) = service.affinity {
            let to = endpoint_chain(service, endpoint);
            nat.rule(&format!("{chain} -m recent --name {to} --rcheck --seconds {seconds} --reap -j {to}"));
        }
    }
    for (index, endpoint) in endpoints.iter().enumerate() {
        let to = endpoint_chain(service, endpoint);
        let left = endpoints.len() - index;
        let chance = format!("-m statistic --mode random --probability {:.10} ", 1.0 / left as f64);
        nat.rule(&format!("{chain} {}-j {to}", if left > 1 { &chance } else { "" }));
    }
}

/// A Service without endpoints is refused; from outside, one without endpoints on this node is dropped.
fn refuse(filter: &mut Chains, family: usize, service: &Service, none_here: bool) {
    let port = format!("-p {0} -m {0} --dport", service.protocol);
    let external = service.load_balancer.map(|address| format!("-d {} {port} {}", address[family], service.port));
    let node_port = service.node_port.map(|number| format!("-m addrtype --dst-type LOCAL {port} {number}"));
    let external = external.into_iter().chain(node_port);
    if service.endpoints.is_empty() {
        let address = service.cluster_ip[family];
        filter.rule(&format!("KUBE-SERVICES -d {address} {port} {} -j REJECT", service.port));
        external.for_each(|from| filter.rule(&format!("KUBE-EXTERNAL-SERVICES {from} -j REJECT")));
    } else if none_here {
        external.for_each(|from| filter.rule(&format!("KUBE-EXTERNAL-SERVICES {from} -j DROP")));
    }
}

fn endpoint_chain(service: &Service, endpoint: &Endpoint) -> String {
    format!("KUBE-SEP-{}", service.endpoint_hash(endpoint))
}

/// One table: chains are all named before the first rule.
#[derive(Default)]
struct Chains {
    names: String,
    rules: String,
}

impl Chains {
    fn chain(&mut self, name: &str) {
        let _ = writeln!(self.names, ":{name} - [0:0]");
    }

    fn rule(&mut self, rule: &str) {
        let _ = writeln!(self.rules, "-A {rule}");
    }

    fn text(&self) -> String {
        format!("{}{}COMMIT\n", self.names, self.rules)
    }
}
