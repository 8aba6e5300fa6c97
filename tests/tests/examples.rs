//! Each conflist of conf-examples does what its name says. The VLAN one runs in tests/uml.rs, containerd's templates in
//! tests/deploy.

use std::collections::BTreeSet;

use podlink_tests::example::Example;
use podlink_tests::traffic::LOST;
use podlink_tests::{BinDir, Node, Outside, Pod, example, files, outside};
use serde_json::{Value, json};

#[test]
fn containerd_default() {
    let addresses: [&[&str]; 2] = [&["10.88.0.2/16", "2001:db8:4860::2/64"], &["10.88.0.3/16", "2001:db8:4860::3/64"]];
    example::works(&BinDir::ours(), "10-containerd.conflist", addresses, Some("cni0"));
}

#[test]
fn kubenet_style_node_with_a_pod_cidr() {
    example::works(&BinDir::ours(), "20-kubenet.conflist", [&["10.244.1.2/24"], &["10.244.1.3/24"]], Some("cbr0"));
}

#[test]
fn point_to_point() {
    let addresses: [&[&str]; 2] =
        [&["10.246.1.2/24", "fd00:10:246:1::2/64"], &["10.246.1.3/24", "fd00:10:246:1::3/64"]];
    example::works(&BinDir::ours(), "21-ptp.conflist", addresses, None);
}

#[test]
fn routed_by_one_gateway_as_calico_does_it() {
    let addresses: [&[&str]; 2] = [&["10.65.0.1/26", "fd00:10:65::1/122"], &["10.65.0.2/26", "fd00:10:65::2/122"]];
    example::works(&BinDir::ours(), "22-routed.conflist", addresses, None);
}

#[test]
fn flannel() {
    let node = Node::new();
    let lease = node.outside("/run/flannel/subnet.env");
    files::make_dir(lease.parent().unwrap());
    let text = "FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_SUBNET=10.244.3.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n";
    files::write(&lease, text);
    let addresses: [&[&str]; 2] = [&["10.244.3.2/24"], &["10.244.3.3/24"]];
    example::works_on(&node, &BinDir::ours(), "85-flannel.conflist", addresses, Some("cni0"));
}

#[test]
fn dual_stack() {
    let addresses: [&[&str]; 2] = [&["10.245.0.10/24", "fd00:10:245::2/64"], &["10.245.0.11/24", "fd00:10:245::3/64"]];
    example::works(&BinDir::ours(), "30-dual-stack.conflist", addresses, Some("cni-dual0"));
}

#[test]
fn layer_2_only() {
    example::works(&BinDir::ours(), "50-layer2.conflist", [&[], &[]], None);
}

#[test]
fn nerdctl_default() {
    example::works(&BinDir::ours(), "60-nerdctl.conflist", [&["10.4.0.2/24"], &["10.4.0.3/24"]], Some("nerdctl0"));
}

#[test]
fn podman_default() {
    example::works(&BinDir::ours(), "70-podman.conflist", [&["10.88.0.2/16"], &["10.88.0.3/16"]], Some("cni-podman0"));
}

#[test]
fn k3s_style() {
    example::works(&BinDir::ours(), "80-k3s.conflist", [&["10.42.0.2/24"], &["10.42.0.3/24"]], Some("cni0"));
}

#[test]
fn a_hundred_pods_at_once_through_nerdctls_chain() {
    let example = Example::read(&BinDir::ours(), "60-nerdctl.conflist");
    let node = Node::new();
    let outside = Outside::of(&node);
    let pods: Vec<(Pod, u16)> = (8000..8100).map(|port| (node.pod(&port.to_string()), port)).collect();
    let at_once = |verb: &str| -> Vec<String> {
        std::thread::scope(|scope| {
            let call = |(pod, port): &(Pod, u16)| {
                let asked = json!({ "portMappings": [{ "hostPort": port, "containerPort": 80, "protocol": "tcp" }] });
                example.cnitool(&node, verb, pod, &asked).success()
            };
            let running: Vec<_> = pods.iter().map(|pod| scope.spawn(move || call(pod))).collect();
            running.into_iter().map(|call| call.join().unwrap_or_else(|e| std::panic::resume_unwind(e))).collect()
        })
    };
    let results = at_once("add");
    let address = |result: &String| serde_json::from_str::<Value>(result).unwrap()["ips"][0]["address"].to_string();
    assert_eq!(results.iter().map(address).collect::<BTreeSet<_>>().len(), 100);
    for (pod, port) in &pods {
        let to = format!("{}:{port}", outside::NODE[0]).parse().unwrap();
        outside.tcp_published(to, pod, 80, LOST).unwrap();
    }
    at_once("check");
    assert_ne!(node.rules_of_pods(&[]), [""; 0]);
    at_once("del");
    assert_eq!(node.rules_of_pods(&["cnitool-", "CNI-"]), [""; 0]);
    assert_eq!((node.link_names(), node.reserved("bridge")), (vec![outside::UPLINK.into(), "nerdctl0".into()], vec![]));
}

#[test]
fn no_example_is_without_a_test() {
    let mut found: Vec<String> = std::fs::read_dir(example::dir())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    found.sort();
    let tested = [
        "10-containerd.conflist",
        "20-kubenet.conflist",
        "21-ptp.conflist",
        "22-routed.conflist",
        "30-dual-stack.conflist",
        "40-vlan.conflist",
        "50-layer2.conflist",
        "60-nerdctl.conflist",
        "70-podman.conflist",
        "80-k3s.conflist",
        "85-flannel.conflist",
        "containerd-dual-stack.conflist.template",
        "containerd-podcidr.conflist.template",
    ];
    assert_eq!(found, tested);
}
