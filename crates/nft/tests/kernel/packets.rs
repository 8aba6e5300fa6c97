//! Packets, not listings: outside — node — pod, with real connections.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    thread::{self, JoinHandle},
};

use nft::{
    Chain, ChainType, Element, Family, FieldType, Hook, Network, Rule, Selector, Set, Table, Transaction, Value,
    priority, proto,
};

use crate::harness::Namespace;

const NAT: Table = Table::new(Family::Inet, "podlink_nat");
const POD: Ipv4Addr = Ipv4Addr::new(10, 88, 0, 2);

struct Net {
    outside: Namespace,
    node: Namespace,
    pod: Namespace,
}

/// 198.51.100.1 outside, .2 the node; 10.88.0.1 the node, .2 the pod. Outside knows no way to the pod.
fn net() -> Net {
    let net = Net { outside: Namespace::new(), node: Namespace::new(), pod: Namespace::new() };
    let ip = |ns: &Namespace, line: &str| ns.command("ip", &line.split(' ').collect::<Vec<_>>());
    ip(&net.node, &format!("link add up0 type veth peer name eth0 netns {}", net.outside.path));
    ip(&net.node, &format!("link add pod0 type veth peer name eth0 netns {}", net.pod.path));
    for (ns, device, address) in [
        (&net.outside, "eth0", "198.51.100.1/24"),
        (&net.node, "up0", "198.51.100.2/24"),
        (&net.node, "pod0", "10.88.0.1/24"),
        (&net.pod, "eth0", "10.88.0.2/24"),
    ] {
        ip(ns, &format!("address add {address} dev {device}"));
        ip(ns, &format!("link set {device} up"));
    }
    ip(&net.pod, "route add default via 10.88.0.1");
    net.node.sysctl("ipv4/ip_forward", "1");
    net
}

/// Answers one connection with the address it came from.
fn serve(ns: &Namespace, address: &'static str) -> JoinHandle<()> {
    let listener = ns.run(move || TcpListener::bind(address).unwrap());
    thread::spawn(move || {
        let (mut stream, peer) = listener.accept().unwrap();
        stream.write_all(peer.ip().to_string().as_bytes()).unwrap();
    })
}

fn ask(ns: &Namespace, address: &'static str) -> String {
    ns.run(move || {
        let address: SocketAddr = address.parse().unwrap();
        let mut stream = TcpStream::connect_timeout(&address, std::time::Duration::from_secs(10)).unwrap();
        let mut seen = String::new();
        stream.read_to_string(&mut seen).unwrap();
        seen
    })
}

#[test]
fn outside_sees_the_node_where_a_pod_is_masqueraded() {
    let net = net();
    let mut tx = Transaction::new();
    tx.add_table(&NAT)
        .add_set(&NAT, Set::new("pods4", [FieldType::Ipv4Addr]))
        .add_chain(&NAT, Chain::base("post", ChainType::Nat, Hook::Postrouting, priority::SRCNAT))
        .add_rule(&NAT, "post", Rule::new().in_prefix(Selector::IpDaddr, [10, 88, 0, 0], 24).ret())
        .add_rule(&NAT, "post", Rule::new().in_set(&[Selector::IpSaddr], "pods4").masquerade(0))
        .add_element(&NAT, "pods4", Element::new(POD).owner("net/c1/eth0"));
    net.node.nft().commit(&tx).unwrap();
    let server = serve(&net.outside, "198.51.100.1:8000");
    assert_eq!(ask(&net.pod, "198.51.100.1:8000"), "198.51.100.2");
    server.join().unwrap();
    let server = serve(&net.pod, "10.88.0.2:8000");
    assert_eq!(ask(&net.node, "10.88.0.2:8000"), "10.88.0.1", "its own subnet is left alone");
    server.join().unwrap();
}

#[test]
fn a_port_of_the_node_leads_to_the_pod_by_the_map() {
    let net = net();
    let types = [FieldType::InetProto, FieldType::InetService];
    let key = [Selector::L4Proto, Selector::ThDport];
    let element = Element::new([Value::Proto(proto::TCP), Value::Port(8080)])
        .value([Value::Ipv4(POD), Value::Port(80)])
        .owner("net/c1/eth0");
    let mut tx = Transaction::new();
    tx.add_table(&NAT)
        .add_set(&NAT, Set::new("ports4", types).to_values([FieldType::Ipv4Addr, FieldType::InetService]))
        .add_chain(&NAT, Chain::base("pre", ChainType::Nat, Hook::Prerouting, priority::DSTNAT))
        .add_chain(&NAT, Chain::base("out", ChainType::Nat, Hook::Output, priority::DSTNAT))
        .add_rule(&NAT, "pre", Rule::new().to_local().dnat_map(Network::V4, &key, "ports4", true, 0))
        .add_rule(&NAT, "out", Rule::new().to_local().dnat_map(Network::V4, &key, "ports4", true, 0))
        .add_element(&NAT, "ports4", element);
    let mut nft = net.node.nft();
    nft.commit(&tx).unwrap();
    let server = serve(&net.pod, "10.88.0.2:80");
    assert_eq!(ask(&net.outside, "198.51.100.2:8080"), "198.51.100.1");
    server.join().unwrap();
    let server = serve(&net.pod, "10.88.0.2:80");
    ask(&net.node, "198.51.100.2:8080");
    server.join().unwrap();

    let mut tx = Transaction::new();
    tx.delete_element(&NAT, "ports4", [Value::Proto(proto::TCP), Value::Port(8080)]);
    nft.commit(&tx).unwrap();
    let refused = net.outside.run(|| TcpStream::connect("198.51.100.2:8080").unwrap_err().kind());
    assert_eq!(refused, std::io::ErrorKind::ConnectionRefused);
}
