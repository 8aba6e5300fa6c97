//! containerd makes the pod network from our template when the kubelet tells it the node's pod CIDRs.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use podlink_tests::containerd::Containerd;
use podlink_tests::cri::{Cri, PodSandboxConfig};
use podlink_tests::{BinDir, Node, example};

/// How long containerd may take to notice its own file. It only catches one that it does not like.
const DEADLINE: Duration = Duration::from_secs(30);

#[test]
fn pods_get_addresses_of_the_nodes_pod_cidr() {
    let cases: [(&str, &str, &[&str]); 2] = [
        ("containerd-podcidr.conflist.template", "10.244.7.0/24", &["10.244.7."]),
        ("containerd-dual-stack.conflist.template", "10.244.8.0/24,fd00:244:8::/64", &["10.244.8.", "fd00:244:8::"]),
    ];
    for (template, cidrs, prefixes) in cases {
        let node = Node::new();
        let containerd = Containerd::start_with_template(&node, &BinDir::ours(), &example::dir().join(template));
        let cri = containerd.cri();
        assert!(cri.network_problem().unwrap().is_some(), "{template}: ready before it knows the pod CIDR");
        cri.set_pod_cidr(cidrs).unwrap();
        wait_ready(cri);
        let config = PodSandboxConfig::new("a", &containerd.jail().cgroup());
        let id = cri.run_pod_sandbox(&config).unwrap();
        let sandbox = cri.sandbox(&id).unwrap();
        let addresses: Vec<&String> = std::iter::once(&sandbox.ip).chain(&sandbox.additional_ips).collect();
        assert_eq!(addresses.len(), prefixes.len(), "{template}: {sandbox:?}");
        for (address, prefix) in addresses.iter().zip(prefixes) {
            assert!(address.starts_with(prefix), "{template}: {address} is not of {cidrs}");
            node.ping(address.parse::<IpAddr>().unwrap());
        }
        cri.stop_pod_sandbox(&id).unwrap();
        cri.remove_pod_sandbox(&id).unwrap();
        assert_eq!(node.reserved("k8s-pod-network"), [""; 0], "{template}");
    }
}

/// containerd watches its directory of configs and tells nobody when it has read one: it is asked until it says so.
fn wait_ready(cri: &Cri) {
    let start = Instant::now();
    while let Some(problem) = cri.network_problem().unwrap() {
        assert!(start.elapsed() < DEADLINE, "{problem}");
    }
}
