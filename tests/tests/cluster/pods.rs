//! Pods of several nodes, joined by routes and by VXLAN: one address for each pod, the same everywhere.

use std::io::{Read, Write};
use std::net::{IpAddr, TcpListener, TcpStream};

use podlink_tests::Namespace;
use podlink_tests::cluster::joined::DEVICES;
use podlink_tests::cluster::{Answering, CLUSTER_CIDR, Cluster, FAMILIES, Joined, OUTSIDE, Plan, WiredPod, ip};
use podlink_tests::files::write;
use serde_json::json;

/// A cluster with a pod on each node.
fn with_a_pod_on_each(joined: Joined) -> (Cluster, Vec<WiredPod>) {
    let cluster = Cluster::new(&Plan { joined, ..Plan::default() });
    let pods = cluster.nodes.iter().map(|node| node.wire(&format!("p{}", node.number))).collect();
    (cluster, pods)
}

fn pods_see_each_others_own_address(joined: Joined) {
    let (_cluster, pods) = with_a_pod_on_each(joined);
    for (from, to) in pods.iter().flat_map(|from| pods.iter().map(move |to| (from, to))) {
        for family in FAMILIES {
            let (address, source) = (to.addresses[family], from.addresses[family]);
            assert_eq!(from.tcp(to, address), Ok(source), "{} to {}", from.name, to.name);
            assert_eq!(from.udp(to, address), Ok(source), "{} to {}", from.name, to.name);
        }
    }
}

#[test]
fn pods_of_three_nodes_joined_by_routes_see_each_others_own_address() {
    pods_see_each_others_own_address(Joined::Routes);
}

#[test]
fn pods_of_three_nodes_joined_by_vxlan_see_each_others_own_address() {
    pods_see_each_others_own_address(Joined::Vxlan);
}

#[test]
fn nodes_and_pods_reach_each_other_across_nodes() {
    for joined in [Joined::Routes, Joined::Vxlan] {
        let (cluster, pods) = with_a_pod_on_each(joined);
        for (node, pod) in cluster.nodes.iter().flat_map(|node| pods.iter().map(move |pod| (node, pod))) {
            let own = pod.name == format!("p{}", node.number);
            for family in FAMILIES {
                let case = format!("{joined:?}: n{} and {}, family {family}", node.number, pod.name);
                // The node comes from the address of the device on the way: the bridge, the nodes' network, or the tunnel.
                let on_the_way = match joined {
                    _ if own => node.gateways()[family].clone(),
                    Joined::Routes => node.addresses()[family].clone(),
                    Joined::Vxlan => bare(&Namespace::addresses(node, DEVICES[family])[0]),
                };
                assert_eq!(node.tcp(pod, pod.addresses[family]), Ok(ip(&on_the_way)), "{case}");
                // A node's address is none of the pods': to another node, a pod comes as its own node.
                let source = if own {
                    pod.addresses[family]
                } else {
                    let home = pods.iter().position(|other| other.name == pod.name).unwrap_or_default();
                    ip(&cluster.nodes[home].addresses()[family])
                };
                assert_eq!(pod.tcp(node, ip(&node.addresses()[family])), Ok(source), "{case}");
            }
        }
    }
}

#[test]
fn a_pod_reaches_the_outside_as_its_node_and_the_outside_reaches_no_pod() {
    let (cluster, pods) = with_a_pod_on_each(Joined::Routes);
    for (node, pod) in cluster.nodes.iter().zip(&pods) {
        let _server = Answering::start(pod, "pod", 80);
        for family in FAMILIES {
            let seen = Ok(ip(&node.addresses()[family]));
            assert_eq!(pod.tcp(cluster.outside(), ip(OUTSIDE[family])), seen);
            assert_eq!(pod.udp(cluster.outside(), ip(OUTSIDE[family])), seen);
            let to = (pod.addresses[family], 80).into();
            assert!(
                cluster.outside().unreachable(to, podlink_tests::traffic::LOST),
                "the outside knows no route to {to}"
            );
        }
    }
}

#[test]
fn a_packet_as_large_as_the_pods_mtu_crosses_nodes_whole() {
    for (joined, mtu) in [(Joined::Routes, 1500), (Joined::Vxlan, 1450)] {
        let (cluster, pods) = with_a_pod_on_each(joined);
        assert_eq!(pods[0].link("eth0").map(|link| link["mtu"].clone()), Some(json!(mtu)));
        let to = pods[1].addresses[0];
        assert!(whole(&pods[0], to, mtu).contains("1 received"));
        assert!(whole(&pods[0], to, mtu + 1).contains(&format!("mtu={mtu}")), "the pod itself knows what is too large");
        for family in FAMILIES {
            assert_eq!(bulk(&pods[0], &pods[2], pods[2].addresses[family]).unwrap(), BULK);
        }
        for place in cluster.nodes.iter().map(|node| &***node).chain(pods.iter().map(|pod| &**pod)) {
            assert_eq!(fragments(place), 0, "{joined:?}: something was cut up or put together");
        }
    }
}

#[test]
fn a_packet_too_large_for_the_tunnel_is_answered_with_the_mtu_that_fits() {
    // A conflist that leaves the MTU at the Ethernet's: what the tunnel cannot carry must not vanish.
    let cluster = Cluster::new(&Plan { joined: Joined::Vxlan, keys: json!({ "mtu": 1500 }), ..Plan::default() });
    let pods = [&cluster.nodes[0], &cluster.nodes[1]].map(|node| node.wire("p"));
    for (family, mtu) in [(0, 1450), (1, 1430)] {
        let to = pods[1].addresses[family];
        let answer = whole(&pods[0], to, 1500);
        assert!(answer.contains(&format!("mtu = {mtu}")) || answer.contains(&format!("mtu={mtu}")), "{answer}");
        assert!(answer.contains(&cluster.nodes[0].gateways()[family]), "the node answers: {answer}");
        // And the sender has learnt from it.
        assert!(whole(&pods[0], to, mtu).contains("1 received"));
        assert_eq!(bulk(&pods[0], &pods[1], to).unwrap(), BULK);
    }
    assert_eq!(fragments(&pods[1]), 0, "the sender sends what fits");
}

#[test]
fn a_pod_that_is_gone_leaves_its_address_to_the_next_on_every_node() {
    let (cluster, mut pods) = with_a_pod_on_each(Joined::Vxlan);
    let old = pods.pop().unwrap();
    let address = old.addresses[0];
    assert_eq!(pods[0].tcp(&old, address), Ok(pods[0].addresses[0]));
    cluster.nodes[2].unwire(old);
    // host-local goes round: the address is free again after the others have been used.
    let ipam = json!({ "type": "host-local", "ranges": [[{ "subnet": "10.244.3.0/24", "rangeStart": address, "rangeEnd": address }], [{ "subnet": "fd00:244:3::/64" }]] });
    cluster.nodes[2].use_chain(&[
        json!({ "type": "bridge", "bridge": "cni0", "isDefaultGateway": true, "mtu": 1450, "ipam": ipam }),
    ]);
    let new = cluster.nodes[2].wire("new");
    assert_eq!(new.addresses[0], address);
    assert_eq!(pods[0].tcp(&new, address), Ok(pods[0].addresses[0]));
    assert_eq!(new.tcp(&pods[0], pods[0].addresses[0]), Ok(address));
}

#[test]
fn ip_masq_of_the_bridge_plugin_would_hide_pods_from_other_nodes() {
    let cluster = Cluster::new(&Plan { keys: json!({ "ipMasq": true }), ..Plan::default() });
    let pods: Vec<WiredPod> = cluster.nodes.iter().map(|node| node.wire("p")).collect();
    for family in FAMILIES {
        let seen = pods[0].tcp(&pods[1], pods[1].addresses[family]);
        assert_eq!(seen, Ok(ip(&cluster.nodes[0].addresses()[family])), "the plugin knows its own subnet only");
    }
}

#[test]
fn flannels_subnet_env_makes_pods_that_reach_each_other_by_vxlan() {
    let cluster = Cluster::new(&Plan { joined: Joined::Vxlan, ..Plan::default() });
    for delegate in [json!({ "hairpinMode": true, "isDefaultGateway": true }), json!({ "type": "ptp" })] {
        let pods: Vec<WiredPod> = cluster
            .nodes
            .iter()
            .map(|node| {
                let [four, six] = node.gateways();
                let env = format!(
                    "FLANNEL_NETWORK={}\nFLANNEL_SUBNET={four}/24\nFLANNEL_IPV6_NETWORK={}\nFLANNEL_IPV6_SUBNET={six}/64\n\
                     FLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n",
                    CLUSTER_CIDR[0], CLUSTER_CIDR[1]
                );
                write(&node.outside("/run/subnet.env"), &env);
                let flannel = json!({ "type": "flannel", "subnetFile": "/run/subnet.env", "delegate": delegate });
                node.use_chain(&[flannel]);
                node.wire("p")
            })
            .collect();
        for (from, to) in pods.iter().flat_map(|from| pods.iter().map(move |to| (from, to))) {
            for family in FAMILIES {
                assert_eq!(from.tcp(to, to.addresses[family]), Ok(from.addresses[family]), "{delegate}");
            }
        }
        assert_eq!(pods[0].link("eth0").map(|link| link["mtu"].clone()), Some(json!(1450)), "{delegate}");
        // flannel gives a routed pod no way but to the pods, as the reference does.
        if delegate["type"] != "ptp" {
            let seen = pods[1].tcp(cluster.outside(), ip(OUTSIDE[0]));
            assert_eq!(seen, Ok(ip(&cluster.nodes[1].addresses()[0])), "{delegate}");
        }
        cluster.nodes.iter().zip(pods).for_each(|(node, pod)| node.unwire(pod));
    }
}

/// What `ping` says of one echo request of `size` bytes, headers included, that nobody may cut up.
fn whole(from: &Namespace, to: IpAddr, size: u32) -> String {
    let payload = (size - if to.is_ipv4() { 28 } else { 48 }).to_string();
    let mut command = std::process::Command::new(podlink_tests::need::tool("ping"));
    let line = ["-n", "-c", "1", "-W", "5", "-M", "do", "-s", &payload, &to.to_string()];
    let finished = from.finish(command.args(line), b"");
    finished.stdout + &finished.stderr
}

/// How much [`bulk`] sends.
const BULK: usize = 4 << 20;

/// Sends four megabytes over one connection, as large segments as the way allows, and says how much has arrived.
fn bulk(from: &Namespace, server: &Namespace, to: IpAddr) -> std::io::Result<usize> {
    let listener = server.run(|| TcpListener::bind((to, 0)))?;
    let address = listener.local_addr()?;
    let mut client = from.run(|| TcpStream::connect(address))?;
    let (mut served, _) = listener.accept()?;
    served.set_read_timeout(Some(podlink_tests::process::DEADLINE))?;
    std::thread::spawn(move || client.write_all(&vec![7; BULK]));
    served.read_to_end(&mut Vec::new())
}

/// How many packets the kernel has cut up or put together there.
fn fragments(place: &Namespace) -> u64 {
    let four = place.sh(&["cat", "/proc/thread-self/net/snmp"]);
    let mut lines = four.lines().filter(|line| line.starts_with("Ip: ")).map(|line| line.split(' '));
    let (Some(names), Some(values)) = (lines.next(), lines.next()) else { panic!("no Ip lines: {four}") };
    let four = names.zip(values).map(|(name, value)| (name.to_owned(), value.to_owned()));
    let six = place.sh(&["cat", "/proc/thread-self/net/snmp6"]);
    let six = six
        .lines()
        .filter_map(|line| line.split_once(char::is_whitespace))
        .map(|(n, v)| (n.to_owned(), v.trim().to_owned()));
    let counts = ["FragCreates", "ReasmReqds", "Ip6FragCreates", "Ip6ReasmReqds"];
    four.chain(six)
        .filter(|(name, _)| counts.contains(&name.as_str()))
        .filter_map(|(_, value)| value.parse::<u64>().ok())
        .sum()
}

/// Without the prefix length.
fn bare(address: &str) -> String {
    address.split('/').next().unwrap_or_default().to_owned()
}
