//! podman with its CNI backend, unmodified, wires a container with our binaries.

use std::net::{IpAddr, SocketAddr};

use podlink_tests::example::Example;
use podlink_tests::outside::{NODE, OUTSIDE};
use podlink_tests::podman::Podman;
use podlink_tests::{BinDir, Namespace, Node, Outside};
use serde_json::json;

#[test]
fn a_container_runs_answers_and_leaves_nothing() {
    let bins = BinDir::ours();
    bins.require(&["bridge", "host-local"]);
    let node = Node::new();
    let data = node.dir().join("addresses");
    let conflist = json!({
        "cniVersion": "0.4.0",
        "name": "pods",
        "plugins": [{
            "type": "bridge", "bridge": "cni-podman7", "isGateway": true, "hairpinMode": true,
            "ipam": {
                "type": "host-local", "dataDir": data,
                "ranges": [[{ "subnet": "10.87.0.0/24" }]],
                "routes": [{ "dst": "0.0.0.0/0" }],
            },
        }],
    });
    let podman = Podman::new(&node, &bins, &conflist);
    podman.run_detached("pods", "web", &[]);
    let ip = podman.ip("web", "pods");
    assert!(data.join("pods").join(&ip).is_file(), "no address file for {ip:?}");
    node.ping(ip.parse().unwrap());
    let shown = podman.run(&["exec", "web", "ip", "-4", "addr", "show", "dev", "eth0"]).success();
    assert!(shown.contains(&format!("inet {ip}/24")), "{shown}");
    podman.run(&["exec", "web", "ping", "-c", "1", "-W", "5", "10.87.0.1"]).success();

    podman.run(&["rm", "--force", "--time", "0", "web"]).success();
    assert_eq!(node.link_names(), ["cni-podman7"], "only the bridge stays");
    let left: Vec<_> = std::fs::read_dir(data.join("pods")).unwrap().flatten().map(|e| e.file_name()).collect();
    let addresses: Vec<_> = left.iter().filter(|n| n.to_str().is_some_and(|n| n.parse::<IpAddr>().is_ok())).collect();
    assert!(addresses.is_empty(), "addresses still reserved: {addresses:?}");
    let namespaces = std::fs::read_dir(node.outside("/run/netns")).unwrap().count();
    assert_eq!(namespaces, 0, "a network namespace is left");
}

#[test]
fn a_published_port_answers_until_the_container_is_removed() {
    let bins = BinDir::ours();
    let node = Node::new();
    let outside = Outside::of(&node);
    let podman = Podman::new(&node, &bins, &Example::read(&bins, "70-podman.conflist").conflist);
    let id = podman.run_detached("podman", "web", &["-p", "127.0.0.1:8081:80", "-p", "8080:80"]);
    podman.run(&["exec", "web", "httpd", "-p", "80", "-h", "/www"]).success();
    let ip = podman.ip("web", "podman");
    let ports = ["127.0.0.1:8080", "127.0.0.1:8081", &format!("{}:8080", NODE[0])].map(|to| to.parse().unwrap());
    for to in ports {
        curl(&node, to);
    }
    let seen = curl(&outside, ports[2]);
    assert!(seen.contains(OUTSIDE[0]), "the container sees its client's real address, not {seen}");
    outside.refused(format!("{}:8081", NODE[0]).parse().unwrap());

    podman.run(&["rm", "--force", "--time", "0", "web"]).success();
    ports.iter().for_each(|to| node.refused(*to));
    outside.refused(ports[2]);
    assert_eq!(node.rules_of_pods(&[&ip, &id]), [""; 0]);
    assert_eq!(node.reserved("podman"), [""; 0]);
}

/// What the container's own script answers: whom it sees.
#[track_caller]
fn curl(from: &Namespace, to: SocketAddr) -> String {
    from.sh(&[
        "curl",
        "--silent",
        "--show-error",
        "--fail",
        "--noproxy",
        "*",
        "--max-time",
        "5",
        &format!("http://{to}/cgi-bin/who"),
    ])
}
