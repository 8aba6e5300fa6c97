//! A node with an outside host and pods, connections to fixed ports, and what of the plugin's is on the node.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use podlink_tests::{Call, Namespace, Node, Outside, Pod, conf};
use serde_json::{Value, json};

pub const SUBNETS: [&str; 2] = ["10.1.0.0/24", "fd00:1::/64"];
/// The node's addresses on the bridge, and those of the first and second pod.
pub const BRIDGE: [&str; 2] = ["10.1.0.1", "fd00:1::1"];
pub const POD: [&str; 2] = ["10.1.0.2", "fd00:1::2"];
pub const SECOND: [&str; 2] = ["10.1.0.3", "fd00:1::3"];
pub const BACKENDS: [&str; 2] = ["nftables", "iptables"];
/// How long a packet that must not arrive is waited for.
pub const BLOCKED: Duration = Duration::from_millis(400);
pub const ARRIVES: Duration = Duration::from_secs(5);

pub fn ip(text: &str) -> IpAddr {
    text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
}

pub fn at(address: &str, port: u16) -> SocketAddr {
    SocketAddr::new(ip(address), port)
}

pub fn unspecified(like: IpAddr) -> IpAddr {
    if like.is_ipv4() { ip("0.0.0.0") } else { ip("::") }
}

/// Binds a fixed port. The last socket there may still be open in a process that another test is just starting.
pub fn bound<T>(bind: impl Fn() -> std::io::Result<T>) -> std::io::Result<T> {
    let end = Instant::now() + ARRIVES;
    loop {
        match bind() {
            Err(e) if e.kind() == std::io::ErrorKind::AddrInUse && Instant::now() < end => std::thread::yield_now(),
            bound => return bound,
        }
    }
}

/// Connects from `client` to `to`, where `server` is to answer at its port `port`: the client as the server saw it.
pub fn tcp(
    client: &Namespace,
    to: SocketAddr,
    server: &Namespace,
    port: u16,
    wait: Duration,
) -> Result<IpAddr, String> {
    let text = |e: std::io::Error| format!("TCP to {to}: {e}");
    let listener = bound(|| server.run(|| TcpListener::bind((unspecified(to.ip()), port)))).map_err(text)?;
    let mut connection = client.run(|| TcpStream::connect_timeout(&to, wait)).map_err(text)?;
    // Whoever accepted may be another server.
    listener.set_nonblocking(true).map_err(text)?;
    let (mut served, peer) = listener.accept().map_err(text)?;
    served.set_nonblocking(false).map_err(text)?;
    served.set_read_timeout(Some(wait)).map_err(text)?;
    connection.set_read_timeout(Some(wait)).map_err(text)?;
    connection.write_all(b"hello").map_err(text)?;
    served.read_exact(&mut [0; 5]).map_err(text)?;
    served.write_all(b"there").map_err(text)?;
    connection.read_exact(&mut [0; 5]).map_err(text)?;
    Ok(peer.ip())
}

/// The same with a datagram and its answer, which must come from where the first was sent.
pub fn udp(
    client: &Namespace,
    to: SocketAddr,
    server: &Namespace,
    port: u16,
    wait: Duration,
) -> Result<IpAddr, String> {
    let socket = client.run(|| UdpSocket::bind((unspecified(to.ip()), 0))).map_err(|e| e.to_string())?;
    exchange(&socket, to, server, port, wait)
}

pub fn exchange(
    socket: &UdpSocket,
    to: SocketAddr,
    server: &Namespace,
    port: u16,
    wait: Duration,
) -> Result<IpAddr, String> {
    let text = |e: std::io::Error| format!("UDP to {to}: {e}");
    let receiver = bound(|| server.run(|| UdpSocket::bind((unspecified(to.ip()), port)))).map_err(text)?;
    receiver.set_read_timeout(Some(wait)).map_err(text)?;
    socket.set_read_timeout(Some(wait)).map_err(text)?;
    socket.connect(to).map_err(text)?;
    socket.send(b"hello").map_err(text)?;
    let (_, peer) = receiver.recv_from(&mut [0; 16]).map_err(text)?;
    receiver.send_to(b"there", peer).map_err(text)?;
    socket.recv(&mut [0; 16]).map_err(text)?;
    Ok(peer.ip())
}

pub fn port(host: u32, container: u32, protocol: &str) -> Value {
    json!({ "hostPort": host, "containerPort": container, "protocol": protocol })
}

pub fn port_of(address: &str, host: u32, protocol: &str) -> Value {
    json!({ "hostPort": host, "containerPort": 80, "protocol": protocol, "hostIP": address })
}

pub fn portmap(keys: Value, ports: Value) -> Value {
    let base = json!({ "cniVersion": "1.1.0", "name": "net", "type": "portmap" });
    conf::with(conf::with(base, keys), json!({ "runtimeConfig": { "portMappings": ports } }))
}

/// Whether netfilter sees packets that only cross a bridge. The node's default depends on what was loaded before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BridgeNetfilter {
    Off,
    /// A pod then reaches itself only with `hairpinMode`: its packets turn round within the bridge.
    On,
}

/// A node with an outside host and pods of one bridge network; the first is `a`.
pub struct Ground {
    pub outside: Outside,
    pub pods: Vec<(Pod, Value)>,
    pub node: Node,
}

impl Ground {
    pub fn new(pods: &[&str]) -> Ground {
        Ground::with(pods, &SUBNETS)
    }

    pub fn with(pods: &[&str], subnets: &[&str]) -> Ground {
        Ground::on(pods, subnets, BridgeNetfilter::Off)
    }

    pub fn on(pods: &[&str], subnets: &[&str], bridged: BridgeNetfilter) -> Ground {
        let node = Node::new();
        let outside = Outside::of(&node);
        for family in ["ip", "ip6"] {
            let setting =
                format!("net.bridge.bridge-nf-call-{family}tables={}", u8::from(bridged == BridgeNetfilter::On));
            // A kernel without it shows netfilter no bridged packets either.
            node.sh(&["sysctl", "-qe", "-w", &setting]);
        }
        let config =
            conf::gateway(subnets, json!({ "isDefaultGateway": true, "hairpinMode": bridged == BridgeNetfilter::On }));
        let attach = |name: &&str| {
            let pod = node.pod(name);
            let result = node.typed(&config).pod(&pod).add().success();
            pod.sh(&["ip", "link", "set", "lo", "up"]);
            (pod, result)
        };
        let pods = pods.iter().map(attach).collect();
        Ground { outside, pods, node }
    }

    pub fn pod(&self, index: usize) -> &Pod {
        &self.pods[index].0
    }

    /// A call for the pod, with its `prevResult`.
    pub fn call(&self, index: usize, keys: Value, ports: Value) -> Call<'_> {
        let (pod, result) = &self.pods[index];
        self.node.typed(&portmap(keys, ports)).pod(pod).prev_result(result)
    }

    /// Every element and rule that a container can own, as other tools see them; empty where there is none.
    pub fn owned(&self) -> Vec<String> {
        let listed = self.nft(&["list", "ruleset"]);
        let items = listed["nftables"].as_array().cloned().unwrap_or_default();
        let mut found = Vec::new();
        for item in items {
            for kind in ["set", "map"] {
                let elements = item[kind]["elem"].as_array().cloned().unwrap_or_default();
                let name = item[kind]["name"].as_str().unwrap_or_default();
                found.extend(elements.iter().map(|element| format!("{name} {element}")));
            }
        }
        for program in ["iptables-save", "ip6tables-save"] {
            let saved = self.node.sh(&[program]);
            found.extend(saved.lines().filter(|line| line.contains("CNI-DN-")).map(str::to_owned));
        }
        found.sort();
        found
    }

    pub fn nft(&self, line: &[&str]) -> Value {
        let answer = self.node.sh(&[&["nft", "-j"], line].concat());
        serde_json::from_str(&answer).unwrap_or_else(|e| panic!("nft {line:?} printed no JSON ({e}): {answer}"))
    }

    pub fn gc(&self, keys: Value, valid: &[&str]) -> Vec<String> {
        let valid: Vec<Value> = valid.iter().map(|id| json!({ "containerID": id, "ifname": "eth0" })).collect();
        let base =
            json!({ "cniVersion": "1.1.0", "name": "net", "type": "portmap", "cni.dev/valid-attachments": valid });
        self.node.typed(&conf::with(base, keys)).run("GC").success();
        self.owned()
    }
}
