//! Each conflist of conf-examples does what its name says. The VLAN one runs in tests/uml.rs.

use podlink_tests::{BinDir, example};

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
fn dual_stack() {
    let addresses: [&[&str]; 2] = [&["10.245.0.10/24", "fd00:10:245::2/64"], &["10.245.0.11/24", "fd00:10:245::3/64"]];
    example::works(&BinDir::ours(), "30-dual-stack.conflist", addresses, Some("cni-dual0"));
}

#[test]
fn layer_2_only() {
    example::works(&BinDir::ours(), "50-layer2.conflist", [&[], &[]], None);
}

#[test]
fn no_example_is_without_a_test() {
    let mut found: Vec<String> = std::fs::read_dir(example::dir())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    found.sort();
    let tested = ["10-containerd", "20-kubenet", "30-dual-stack", "40-vlan", "50-layer2"];
    assert_eq!(found, tested.map(|name| format!("{name}.conflist")));
}
