//! ADD of the bridge plugin: every key of the configuration as the kernel shows it.

use podlink_tests::{Attached, BinDir, Node, conf, files};
use serde_json::{Value, json};

const V4: &str = "10.1.0.0/24";
const V6: &str = "fd00:1::/64";

fn flags(link: &Value, flag: &str) -> bool {
    link["flags"].as_array().is_some_and(|flags| flags.iter().any(|f| f == flag))
}

/// `dst via gateway` of each route that has a gateway.
fn routes_via(pod: &podlink_tests::Namespace) -> Vec<String> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let via = |route: &Value| Some(format!("{} via {}", text(&route["dst"])?, text(&route["gateway"])?));
    pod.routes().iter().filter_map(via).collect()
}

#[test]
fn a_layer_2_network_has_a_bridge_and_no_addresses() {
    for (keys, bridge) in [(json!({}), "cni0"), (json!({ "bridge": "br-x" }), "br-x")] {
        let node = Node::new();
        node.sh(&["busybox", "sysctl", "-w", "net/ipv4/ip_forward=0"]);
        let at = Attached::on(node, &conf::bridge(keys));
        assert_eq!(at.link_of_node(bridge)["linkinfo"]["info_kind"], "bridge");
        assert_eq!(at.port()["master"], bridge);
        assert_eq!((at.pod.addresses("eth0").len(), at.addresses(bridge).len()), (0, 0));
        assert_eq!((at.eth0()["operstate"].as_str(), at.port()["operstate"].as_str()), (Some("UP"), Some("UP")));
        assert_eq!(at.sysctl("net/ipv4/ip_forward"), "0");
        assert_eq!(at.result.get("ips"), None);
    }
}

#[test]
fn a_gateway_forwards_in_the_families_in_use_only() {
    for (subnets, v4, v6) in [(&[V4][..], "1", "0"), (&[V6], "0", "1"), (&[V4, V6], "1", "1")] {
        let node = Node::new();
        node.sh(&["busybox", "sysctl", "-w", "net/ipv4/ip_forward=0", "net/ipv6/conf/all/forwarding=0"]);
        let at = Attached::on(node, &conf::gateway(subnets, json!({})));
        let gateways: Vec<&str> =
            subnets.iter().map(|s| if *s == V4 { "10.1.0.1/24" } else { "fd00:1::1/64" }).collect();
        let pods: Vec<&str> = subnets.iter().map(|s| if *s == V4 { "10.1.0.2/24" } else { "fd00:1::2/64" }).collect();
        assert_eq!(at.addresses("cni0"), gateways);
        assert_eq!(at.pod.addresses("eth0"), pods);
        assert_eq!(
            (at.sysctl("net/ipv4/ip_forward").as_str(), at.sysctl("net/ipv6/conf/all/forwarding").as_str()),
            (v4, v6)
        );
        assert!(routes_via(&at.pod).is_empty(), "isGateway alone makes no default route");
    }
}

#[test]
fn without_is_gateway_the_bridge_has_no_address() {
    let at = Attached::to(&conf::bridge(json!({ "ipam": conf::host_local(&[V4, V6]) })));
    assert_eq!(at.addresses("cni0"), Vec::<String>::new());
    assert_eq!(at.pod.addresses("eth0"), ["10.1.0.2/24", "fd00:1::2/64"]);
}

#[test]
fn a_default_gateway_gives_default_routes_and_keeps_those_of_ipam() {
    let own = json!([{ "dst": "0.0.0.0/0", "gw": "10.1.0.254" }, { "dst": "192.168.7.0/24" }]);
    let default = "default via 10.1.0.1";
    for (subnets, routes, expected) in [
        (&[V4][..], json!([]), &[default][..]),
        (&[V4, V6], json!([]), &[default, "default via fd00:1::1"]),
        (&[V4], own, &["default via 10.1.0.254", "192.168.7.0/24 via 10.1.0.1"]),
    ] {
        let mut config = conf::gateway(subnets, json!({ "isGateway": false, "isDefaultGateway": true }));
        config["ipam"]["routes"] = routes;
        let at = Attached::to(&config);
        assert_eq!(routes_via(&at.pod), expected);
        assert_eq!(at.result["routes"].as_array().map(Vec::len), Some(expected.len()));
        assert_eq!(at.addresses("cni0").len(), subnets.len(), "isDefaultGateway implies isGateway");
    }
}

#[test]
fn another_address_on_the_bridge_is_refused_or_replaced() {
    for (present, subnet, gateway) in [("10.9.0.1/16", V4, "10.1.0.1/24"), ("fd00:1::9/48", V6, "fd00:1::1/64")] {
        let node = Node::new();
        node.sh(&["ip", "link", "add", "cni0", "type", "bridge"]);
        node.sh(&["ip", "addr", "add", present, "dev", "cni0", "nodad"]);
        let pod = node.pod("a");
        let call = |force: bool| node.typed(&conf::gateway(&[subnet], json!({ "forceAddress": force }))).pod(&pod);
        let error = call(false).add().failure();
        assert!(
            [present, gateway, "cni0", "forceAddress"].iter().all(|part| error.text.contains(part)),
            "{}",
            error.text
        );
        assert_eq!((node.addresses("cni0"), node.link_names()), (vec![present.to_owned()], vec!["cni0".to_owned()]));
        assert_eq!((node.reserved("net"), pod.link_names()), (vec![], vec![]));
        call(true).add().success();
        assert_eq!(node.addresses("cni0"), [gateway]);
    }
}

#[test]
fn ipv6_subnets_share_a_bridge() {
    let at = Attached::to(&conf::gateway(&[V6], json!({})));
    let pod = at.pod("b");
    at.typed(&conf::gateway(&["fd00:2::/64"], json!({ "name": "second" }))).pod(&pod).add().success();
    assert_eq!(at.addresses("cni0"), ["fd00:1::1/64", "fd00:2::1/64"]);
}

#[test]
fn keys_of_links_reach_the_links() {
    let hairpin = |at: &Attached| at.port()["linkinfo"]["info_slave_data"]["hairpin"] == true;
    let isolated = |at: &Attached| at.port()["linkinfo"]["info_slave_data"]["isolated"] == true;
    let promiscuous = |at: &Attached| flags(&at.link_of_node("cni0"), "PROMISC");
    let mtus = |at: &Attached| [at.eth0(), at.port(), at.link_of_node("cni0")].map(|link| link["mtu"].as_u64());
    for (keys, expected, mtu) in [
        (json!({}), (false, false, false), 1500),
        (json!({ "mtu": 1400 }), (false, false, false), 1400),
        (json!({ "hairpinMode": true }), (true, false, false), 1500),
        (json!({ "portIsolation": true }), (false, true, false), 1500),
        (json!({ "promiscMode": true }), (false, false, true), 1500),
    ] {
        let at = Attached::to(&conf::gateway(&[V4], keys.clone()));
        assert_eq!((hairpin(&at), isolated(&at), promiscuous(&at)), expected, "{keys}");
        assert_eq!(mtus(&at), [Some(mtu); 3], "{keys}");
        let reported: Vec<_> = [0, 1, 2].map(|i| at.result["interfaces"][i]["mtu"].as_u64()).into();
        assert_eq!(reported, [Some(mtu); 3], "{keys}");
    }
}

#[test]
fn a_disabled_container_interface_stays_off() {
    let at = Attached::to(&conf::bridge(json!({ "disableContainerInterface": true })));
    assert!(!flags(&at.eth0(), "UP") && flags(&at.port(), "UP"));
    assert_eq!(at.port()["master"], "cni0");
}

#[test]
fn duplicate_address_detection_finds_the_other_owner() {
    let at = Attached::to(&conf::gateway(&[V6], json!({})));
    let node: &Node = &at;
    let pod = node.pod("b");
    // Another network on the same link, whose store does not know that fd00:1::2 is taken.
    let config = conf::gateway(&[V6], json!({ "name": "other", "enabledad": true }));
    let before = node.link_names();
    let error = node.typed(&config).pod(&pod).add().failure();
    assert!(error.text.contains("fd00:1::2") && error.text.contains("pod-b"), "{}", error.text);
    assert_eq!((node.link_names(), pod.link_names(), node.reserved("other")), (before, vec![], vec![]));
    // The next address is free: it is the pod's when ADD returns.
    node.typed(&config).pod(&pod).add().success();
    let found = pod.ip(&["addr", "show", "dev", "eth0"]).to_string();
    assert!(found.contains("fd00:1::3") && !found.contains("tentative"), "{found}");
}

#[test]
fn isolated_pods_reach_the_gateway_and_not_each_other() {
    let at = Attached::to(&conf::gateway(&[V4], json!({ "portIsolation": true })));
    let pod = at.pod("b");
    at.typed(&at.config).pod(&pod).add().success();
    for pod in [&at.pod, &pod] {
        pod.ping([10, 1, 0, 1].into());
    }
    let mut ping = std::process::Command::new("ping");
    let answer = at.pod.finish(ping.args(["-n", "-c", "1", "-W", "1", "10.1.0.3"]), b"");
    assert_ne!(answer.code, Some(0), "{answer}");
}

#[test]
fn a_mac_comes_from_three_places_in_order_of_precedence() {
    let (args, cni, runtime) = ("02:00:00:00:00:01", "02:00:00:00:00:02", "02:00:00:00:00:03");
    let in_args = format!("MAC={args}");
    let in_cni = json!({ "args": { "cni": { "mac": cni } } });
    let in_runtime = json!({ "runtimeConfig": { "mac": runtime } });
    let both = conf::with(in_cni.clone(), in_runtime.clone());
    for (variable, keys, expected) in [
        (in_args.as_str(), json!({}), args),
        ("", in_cni.clone(), cni),
        ("", in_runtime.clone(), runtime),
        (&in_args, in_cni, cni),
        (&in_args, both, runtime),
    ] {
        let node = Node::new();
        let pod = node.pod("a");
        let result = node.typed(&conf::bridge(keys.clone())).pod(&pod).args(variable).add().success();
        let found = pod.link("eth0").unwrap();
        assert_eq!(
            (found["address"].as_str(), result["interfaces"][2]["mac"].as_str()),
            (Some(expected), Some(expected)),
            "{variable} {keys}"
        );
    }
}

#[test]
fn dns_comes_from_ipam_unless_the_config_has_its_own() {
    let own = json!({ "nameservers": ["10.9.9.9"], "search": ["own.example"] });
    for (keys, expected) in [
        (json!({}), json!({ "nameservers": ["10.0.0.10"], "search": ["ipam.example"] })),
        (json!({ "dns": own }), own.clone()),
    ] {
        let node = Node::new();
        let file = node.dir().join("resolv.conf");
        files::write(&file, "nameserver 10.0.0.10\nsearch ipam.example\n");
        let mut config = conf::gateway(&[V4], keys);
        config["ipam"]["resolvConf"] = json!(file);
        assert_eq!(Attached::on(node, &config).result["dns"], expected);
    }
}

#[test]
fn several_addresses_of_one_family() {
    let at = Attached::to(&conf::gateway(&[V4, "10.2.0.0/24", V6, "fd00:2::/64"], json!({})));
    assert_eq!(at.pod.addresses("eth0"), ["10.1.0.2/24", "10.2.0.2/24", "fd00:1::2/64", "fd00:2::2/64"]);
    assert_eq!(at.addresses("cni0"), ["10.1.0.1/24", "10.2.0.1/24", "fd00:1::1/64", "fd00:2::1/64"]);
    let pod = at.pod("b");
    at.typed(&at.config).pod(&pod).add().success();
    for ip in ["10.1.0.3", "10.2.0.3", "fd00:1::3", "fd00:2::3"] {
        at.pod.ping(ip.parse().unwrap());
    }
}

#[test]
fn routes_have_their_attributes() {
    let mut config = conf::gateway(&[V4, V6], json!({}));
    config["ipam"]["routes"] = json!([
        { "dst": "10.50.0.0/16", "mtu": 1300, "advmss": 1200, "priority": 77 },
        { "dst": "10.51.0.0/16", "table": 100, "scope": 0 },
        { "dst": "fd50::/32", "mtu": 1300, "priority": 78 },
    ]);
    let at = Attached::to(&config);
    let route =
        |family: &str, table: &str, dst: &str| at.pod.ip(&[family, "route", "show", "table", table, dst])[0].clone();
    let v4 = route("-4", "main", "10.50.0.0/16");
    assert_eq!((&v4["gateway"], &v4["metric"]), (&json!("10.1.0.1"), &json!(77)));
    assert_eq!(v4["metrics"], json!([{ "mtu": 1300, "advmss": 1200 }]));
    assert_eq!(route("-4", "100", "10.51.0.0/16")["gateway"], "10.1.0.1");
    let v6 = route("-6", "main", "fd50::/32");
    assert_eq!(
        (&v6["gateway"], &v6["metric"], &v6["metrics"]),
        (&json!("fd00:1::1"), &json!(78), &json!([{ "mtu": 1300 }]))
    );
    at.call().check().success();
}

#[test]
fn an_address_is_asked_for_in_three_places() {
    for (args, keys, expected) in [
        ("IP=10.1.0.77", json!({}), "10.1.0.77/24"),
        ("", json!({ "args": { "cni": { "ips": ["10.1.0.78/24"] } } }), "10.1.0.78/24"),
        ("", json!({ "runtimeConfig": { "ips": ["10.1.0.79"] } }), "10.1.0.79/24"),
    ] {
        let node = Node::new();
        let pod = node.pod("a");
        node.typed(&conf::gateway(&[V4], keys)).pod(&pod).args(args).add().success();
        assert_eq!(pod.addresses("eth0"), [expected]);
    }
}

#[test]
fn one_pod_on_two_networks() {
    let at = Attached::to(&conf::gateway(&[V4], json!({ "isDefaultGateway": true })));
    let second = conf::gateway(&["10.2.0.0/24"], json!({ "name": "second", "bridge": "cni1" }));
    let call = at.typed(&second).pod(&at.pod).ifname("net1");
    let result = call.add().success();
    assert_eq!(
        (at.pod.addresses("eth0"), at.pod.addresses("net1")),
        (vec!["10.1.0.2/24".to_owned()], vec!["10.2.0.2/24".to_owned()])
    );
    at.call().check().success();
    call.clone().prev_result(&result).check().success();
    call.prev_result(&result).del().success();
    assert_eq!(at.pod.link_names(), ["eth0"]);
    at.call().check().success();
}

#[test]
fn each_version_has_its_result() {
    for version in ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"] {
        let at = Attached::to(&conf::gateway(&[V4, V6], json!({ "cniVersion": version })));
        let result = &at.result;
        assert_eq!(result["cniVersion"], version);
        if version < "0.3.0" {
            assert_eq!((&result["ip4"]["ip"], &result["ip4"]["gateway"]), (&json!("10.1.0.2/24"), &json!("10.1.0.1")));
            assert_eq!(
                (&result["ip6"]["ip"], &result["ip6"]["gateway"]),
                (&json!("fd00:1::2/64"), &json!("fd00:1::1"))
            );
            assert!(result.get("interfaces").is_none() && result.get("ips").is_none());
            continue;
        }
        let names: Vec<_> =
            result["interfaces"].as_array().unwrap().iter().map(|i| i["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["cni0", &at.port_name(), "eth0"]);
        assert_eq!(result["interfaces"][2]["sandbox"], "/run/netns/a");
        let macs = [at.link_of_node("cni0"), at.port(), at.eth0()].map(|link| link["address"].clone());
        assert_eq!([0, 1, 2].map(|i| result["interfaces"][i]["mac"].clone()), macs);
        assert_eq!(result["ips"][0]["address"], "10.1.0.2/24");
        assert_eq!(result["ips"][0]["interface"], 2);
        let family = if version < "1.0.0" { json!("4") } else { Value::Null };
        assert_eq!(result["ips"][0]["version"], family, "{version}");
        assert_eq!(result["interfaces"][0].get("mtu").is_some(), version >= "1.1.0", "{version}");
    }
}

/// A port with a MAC lower than any random one: a bridge that follows its ports takes it on.
fn lowest_port(node: &Node) {
    node.sh(&["ip", "link", "add", "low", "address", "00:00:00:00:00:01", "type", "veth", "peer", "name", "low-peer"]);
    node.sh(&["ip", "link", "set", "low", "master", "cni0", "up"]);
}

#[test]
fn the_bridges_mac_stays_put() {
    for made_by_others in [false, true] {
        let node = Node::new();
        if made_by_others {
            node.sh(&["ip", "link", "add", "cni0", "type", "bridge"]);
        }
        let at = Attached::on(node, &conf::gateway(&[V4], json!({})));
        let mac = at.link_of_node("cni0")["address"].clone();
        assert_eq!(at.result["interfaces"][0]["mac"], mac);
        lowest_port(&at);
        assert_eq!(at.link_of_node("cni0")["address"], mac, "made by others: {made_by_others}");
        let pod = at.pod("b");
        at.typed(&at.config).pod(&pod).add().success();
        at.call().del().success();
        assert_eq!(at.link_of_node("cni0")["address"], mac, "made by others: {made_by_others}");
    }
}

#[test]
fn a_bridge_without_addresses_keeps_its_mac_too() {
    let at = Attached::to(&conf::bridge(json!({})));
    let mac = at.link_of_node("cni0")["address"].clone();
    lowest_port(&at);
    assert_eq!(at.link_of_node("cni0")["address"], mac);
}

#[test]
fn router_advertisements_are_not_listened_to() {
    let at = Attached::to(&conf::gateway(&[V4, V6], json!({})));
    for link in ["cni0", &at.port_name()] {
        assert_eq!(at.sysctl(&format!("net/ipv6/conf/{link}/accept_ra")), "0", "{link}");
    }
}

#[test]
fn everything_is_up_when_add_returns() {
    let at = Attached::to(&conf::gateway(&[V4, V6], json!({})));
    let states = [at.eth0(), at.port(), at.link_of_node("cni0")].map(|link| link["operstate"].clone());
    assert_eq!(states, ["UP", "UP", "UP"]);
    assert_eq!(at.port()["linkinfo"]["info_slave_data"]["state"], "forwarding");
    let addresses =
        at.pod.ip(&["addr", "show", "dev", "eth0"]).to_string() + &at.ip(&["addr", "show", "dev", "cni0"]).to_string();
    assert!(
        addresses.contains("fd00:1::2") && !addresses.contains("\"tentative\":true,\"local\":\"fd00"),
        "{addresses}"
    );
}

#[test]
fn neighbours_learn_at_once_who_has_the_address_now() {
    let at = Attached::to(&conf::gateway(&[V4, V6], json!({})));
    let (v4, v6) = ("10.1.0.3", "fd00:1::3");
    for ip in [v4, v6] {
        at.pod.sh(&["ip", "neigh", "add", ip, "lladdr", "02:00:00:00:00:99", "dev", "eth0", "nud", "stale"]);
    }
    let pod = at.pod("b");
    let result = at.typed(&at.config).pod(&pod).add().success();
    let mac = &result["interfaces"][2]["mac"];
    for ip in [v4, v6] {
        at.pod.wait_until(&format!("the neighbour {ip} is {mac}"), |pod| {
            pod.ip(&["neigh", "show", ip]).as_array().is_some_and(|found| found.iter().any(|n| n["lladdr"] == *mac))
        });
    }
}

#[test]
fn traffic_keeps_its_source_address() {
    let at = Attached::to(&conf::gateway(&[V4, V6], json!({ "isDefaultGateway": true })));
    let pod = at.pod("b");
    at.typed(&at.config).pod(&pod).add().success();
    for (gateway, a, b) in [("10.1.0.1", "10.1.0.2", "10.1.0.3"), ("fd00:1::1", "fd00:1::2", "fd00:1::3")] {
        let [gateway, a, b] = [gateway, a, b].map(|ip| ip.parse().unwrap());
        let node: &podlink_tests::Namespace = &at;
        for (from, source, server, to) in
            [(&*at.pod, a, &*pod, b), (&*pod, b, &*at.pod, a), (&*at.pod, a, node, gateway), (node, gateway, &*pod, b)]
        {
            assert_eq!(from.tcp(server, to), Ok(source));
            assert_eq!(from.udp(server, to), Ok(source));
        }
    }
}

#[test]
fn the_host_end_says_whose_it_is() {
    let at = Attached::to(&conf::bridge(json!({})));
    assert_eq!(at.port()["ifalias"], "podlink:net/pod-a/eth0");
}

#[test]
fn a_bridge_keeps_an_mtu_that_somebody_gave_it() {
    let node = Node::new();
    node.sh(&["ip", "link", "add", "cni0", "type", "bridge"]);
    node.sh(&["ip", "link", "set", "cni0", "mtu", "9000"]);
    let at = Attached::on(node, &conf::gateway(&[V4], json!({ "mtu": 1400 })));
    assert_eq!((at.eth0()["mtu"].as_u64(), at.link_of_node("cni0")["mtu"].as_u64()), (Some(1400), Some(9000)));
}

#[test]
fn the_plugin_says_what_it_speaks() {
    let node = Node::new();
    let bare = node.plugin(&BinDir::ours(), "bridge").run("VERSION").success();
    assert_eq!(bare["supportedVersions"].as_array().map(Vec::len), Some(7));
}
