//! containerd with its CRI plugin, unmodified, wires its pods with our binaries.

use std::net::IpAddr;

use podlink_tests::containerd::Containerd;
use podlink_tests::cri::{Cri, PodSandboxConfig, PortMapping};
use podlink_tests::example::Example;
use podlink_tests::outside::{NODE, OUTSIDE};
use podlink_tests::{BinDir, Node, Outside, image};
use serde_json::json;

const GATEWAY: &str = "10.88.0.1";

#[test]
fn pods_reach_each_other_and_the_node_and_leave_nothing() {
    let bins = BinDir::ours();
    bins.require(&["bridge", "host-local", "loopback"]);
    let node = Node::new();
    let data = node.dir().join("addresses");
    let conflist = json!({
        "cniVersion": "1.0.0",
        "name": "pods",
        "plugins": [{
            "type": "bridge", "bridge": "cni0", "isGateway": true, "hairpinMode": true,
            "ipam": {
                "type": "host-local", "dataDir": data,
                "ranges": [[{ "subnet": "10.88.0.0/24" }]],
                "routes": [{ "dst": "0.0.0.0/0" }],
            },
        }],
    });
    let containerd = Containerd::start(&node, &bins, &conflist);
    let cri = containerd.cri();
    let cgroup = containerd.jail().cgroup();
    let configs = ["a", "b"].map(|name| PodSandboxConfig::new(name, &cgroup));
    let pods = configs.clone().map(|config| cri.run_pod_sandbox(&config).unwrap());
    let [sandbox_a, sandbox_b] = pods.clone().map(|id| cri.sandbox(&id).unwrap());
    let (ip_a, ip_b) = (address(&sandbox_a.ip), address(&sandbox_b.ip));
    assert_ne!(ip_a, ip_b);
    assert!(data.join("pods").join(&sandbox_a.ip).is_file(), "no address file for {ip_a}");

    // From the outside: the sandboxes' own namespaces.
    let inside = containerd.jail().namespace();
    let [a, b] = [&sandbox_a, &sandbox_b].map(|sandbox| inside.at(&sandbox.netns));
    assert_eq!(a.addresses("lo"), ["127.0.0.1/8", "::1/128"], "the loopback plugin's work");
    assert_eq!(a.addresses("eth0"), [format!("{ip_a}/24")]);
    a.ping(ip_b);
    node.ping(ip_a);
    a.ping(address(GATEWAY));
    assert_eq!(a.tcp(&b, ip_b).unwrap(), ip_a, "a server sees its client's real address");
    assert_eq!(node.tcp(&b, ip_b).unwrap(), address(GATEWAY));
    assert_eq!(a.tcp(&node, address(GATEWAY)).unwrap(), ip_a);

    // From the inside: containers of the pods.
    let start = |pod: usize, name: &str| cri.start_container(&pods[pod], &configs[pod], name, image::NAME).unwrap();
    let (first, second, server) = (start(0, "first"), start(0, "second"), start(1, "server"));
    for container in [&first, &second] {
        let shown = exec(cri, container, &["ip", "-4", "addr", "show", "dev", "eth0"]);
        assert!(shown.contains(&format!("inet {ip_a}/24")), "a container of pod a shows another address: {shown}");
    }
    exec(cri, &first, &["ping", "-c", "1", "-W", "5", GATEWAY]);
    exec(cri, &server, &["httpd", "-p", "8080", "-h", "/www"]);
    let seen = exec(cri, &second, &["wget", "-q", "-O", "-", &format!("http://{ip_b}:8080/cgi-bin/who")]);
    // httpd listens on an IPv6 socket and writes "[::ffff:10.88.0.2]".
    let seen = address(seen.trim_matches(['[', ']'])).to_canonical();
    assert_eq!(seen, ip_a, "the server in pod b sees its client's real address");

    drop((a, b));
    for pod in &pods {
        cri.stop_pod_sandbox(pod).unwrap();
        cri.remove_pod_sandbox(pod).unwrap();
    }
    assert_eq!(node.link_names(), ["cni0"], "only the bridge stays");
    assert_eq!(address_files(&data.join("pods")), Vec::<String>::new());
    let namespaces = std::fs::read_dir(node.outside("/run/netns")).unwrap().count();
    assert_eq!(namespaces, 0, "a network namespace is left");
}

#[test]
fn a_host_port_leads_to_its_pod_until_the_sandbox_is_stopped() {
    let bins = BinDir::ours();
    let node = Node::new();
    let outside = Outside::of(&node);
    let containerd = Containerd::start(&node, &bins, &Example::read(&bins, "10-containerd.conflist").conflist);
    let cri = containerd.cri();
    let mut config = PodSandboxConfig::new("web", &containerd.jail().cgroup());
    config.port_mappings =
        vec![PortMapping { protocol: 0, container_port: 80, host_port: 8080, host_ip: String::new() }];
    let id = cri.run_pod_sandbox(&config).unwrap();
    let sandbox = cri.sandbox(&id).unwrap();
    let web = cri.start_container(&id, &config, "web", image::NAME).unwrap();
    exec(cri, &web, &["httpd", "-p", "80", "-h", "/www"]);
    let ports = NODE.map(|to| std::net::SocketAddr::new(address(to), 8080));
    for (to, client) in ports.into_iter().zip(OUTSIDE) {
        node.http(to, "/cgi-bin/who").unwrap();
        let seen = outside.http(to, "/cgi-bin/who").unwrap();
        let seen = address(seen.trim_matches(['[', ']'])).to_canonical();
        assert_eq!(seen, address(client), "the pod sees its client's real address");
    }

    cri.stop_pod_sandbox(&id).unwrap();
    ports.iter().for_each(|to| outside.refused(*to));
    let [second] = &sandbox.additional_ips[..] else { panic!("two addresses expected: {sandbox:?}") };
    assert_eq!(node.rules_of_pods(&[&id, &sandbox.ip, second]), [""; 0]);
    assert_eq!(node.reserved("containerd-net"), [""; 0]);
    cri.remove_pod_sandbox(&id).unwrap();
}

#[track_caller]
fn exec(cri: &Cri, container: &str, command: &[&str]) -> String {
    let exec = cri.exec(container, command).unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(exec.code == 0, "{command:?}: {exec:?}");
    exec.stdout
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap_or_else(|e| panic!("address {text:?}: {e}"))
}

/// The names in a network's address store that are addresses.
fn address_files(dir: &std::path::Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display())).flatten();
    entries.map(|e| e.file_name().to_string_lossy().into_owned()).filter(|n| n.parse::<IpAddr>().is_ok()).collect()
}
