//! What passes, and under which address.

use std::net::IpAddr;

use podlink_tests::outside::{NODE, OUTSIDE};
use podlink_tests::{Attached, Node, Outside, Pod};
use serde_json::{Value, json};

use crate::ptp;

fn ip(pod: &Pod, family: usize) -> IpAddr {
    pod.addresses("eth0")[family].split('/').next().unwrap().parse().unwrap()
}

#[test]
fn pods_reach_each_other_the_node_and_the_outside() {
    for backend in [Some("nftables"), Some("iptables"), None] {
        let node = Node::new();
        let outside = Outside::of(&node);
        let config = ptp(json!({ "ipMasq": true, "ipMasqBackend": backend }));
        let pods = ["a", "b"].map(|name| node.pod(name));
        let results = pods.each_ref().map(|pod| node.typed(&config).pod(pod).add().success());
        let [a, b] = &pods;
        for family in 0..2 {
            let (server, node_ip): (IpAddr, IpAddr) = (OUTSIDE[family].parse().unwrap(), NODE[family].parse().unwrap());
            assert_eq!(a.tcp(&outside, server), Ok(node_ip), "{backend:?}");
            assert_eq!(a.tcp(b, ip(b, family)), Ok(ip(a, family)), "{backend:?}: pod to pod keeps its address");
            assert_eq!(a.tcp(&node, node_ip), Ok(ip(a, family)), "{backend:?}: pod to node");
            node.ping(ip(a, family));
            a.ping(["10.31.0.1", "fd31::1"][family].parse().unwrap());
            // The route through the node is also taken to an address that nobody has: no one answers for it on the link.
            let nobody: IpAddr = ["10.31.0.200", "fd31::c8"][family].parse().unwrap();
            let route = a.ip(&["route", "get", &nobody.to_string()]);
            assert_eq!(route[0]["gateway"], ["10.31.0.1", "fd31::1"][family], "{route}");
        }
        for (pod, result) in pods.iter().zip(&results) {
            let call = node.typed(&config).pod(pod).prev_result(result);
            call.check().success();
            call.del().success();
        }
        assert_eq!(node.rules_of_pods(&["pod-a", "pod-b"]), [""; 0], "{backend:?}");
        assert_eq!(node.reserved("net"), [""; 0]);
    }
}

#[test]
fn a_link_local_gateway_routes_a_pod_of_any_subnet() {
    // As Calico does it: one gateway for all pods, which no subnet contains, and addresses that are a network of their own.
    let config = |address: &str| -> Value {
        let addresses = json!([{ "address": address, "gateway": "169.254.1.1" }]);
        let ipam = json!({ "type": "static", "addresses": addresses, "routes": [{ "dst": "0.0.0.0/0" }] });
        ptp(json!({ "ipam": ipam }))
    };
    let at = Attached::to(&config("10.65.0.2/32"));
    let b = at.pod("b");
    at.typed(&config("192.0.2.77/32")).pod(&b).add().success();
    assert_eq!(at.pod.addresses("eth0"), ["10.65.0.2/32"]);
    assert_eq!(at.pod.tcp(&b, ip(&b, 0)), Ok(ip(&at.pod, 0)));
    assert_eq!(b.tcp(&at.pod, ip(&at.pod, 0)), Ok(ip(&b, 0)));
    let routes = at.pod.routes();
    assert_eq!((&routes[0]["dst"], &routes[0]["gateway"]), (&json!("default"), &json!("169.254.1.1")));
    assert_eq!((&routes[1]["dst"], routes.len()), (&json!("169.254.1.1"), 2), "{routes:?}");
    at.call().check().success();
    at.call().del().success();
    assert_eq!(at.link_names().len(), 1, "the other pod's");
}
