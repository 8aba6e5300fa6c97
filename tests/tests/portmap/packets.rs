//! Who reaches the pod, and who does not.

use std::net::UdpSocket;

use podlink_tests::outside::{NODE, OUTSIDE};
use podlink_tests::{Namespace, conf};
use serde_json::json;

use crate::ground::*;

#[test]
fn the_port_is_reached_from_everywhere() {
    for (backend, bridged) in [
        (Some("nftables"), BridgeNetfilter::Off),
        (Some("nftables"), BridgeNetfilter::On),
        (Some("iptables"), BridgeNetfilter::Off),
        (Some("iptables"), BridgeNetfilter::On),
        (None, BridgeNetfilter::Off),
    ] {
        let ground = Ground::on(&["a", "b"], &SUBNETS, bridged);
        let ports = json!([port(8080, 80, "tcp"), port(8080, 81, "udp"), port(9999, 99, "sctp")]);
        let call = ground.call(0, json!({ "backend": backend }), ports);
        assert_eq!(call.add().success(), ground.pods[0].1);
        call.check().success();
        let (a, b) = (ground.pod(0), ground.pod(1));
        for family in 0..2 {
            let neighbour = (bridged == BridgeNetfilter::Off).then_some(BRIDGE[family]);
            // Whom the pod sees where it matters: itself and its neighbours must be seen as the node, or the answer goes astray.
            let mut places: Vec<(&str, &Namespace, &str, Option<&str>)> = vec![
                ("outside", &ground.outside, NODE[family], Some(OUTSIDE[family])),
                ("the node", &ground.node, NODE[family], None),
                ("the node, bridge", &ground.node, BRIDGE[family], None),
                ("the pod itself", a, NODE[family], Some(BRIDGE[family])),
                ("the pod itself, bridge", a, BRIDGE[family], Some(BRIDGE[family])),
                ("its neighbour", b, NODE[family], neighbour),
                ("its neighbour, bridge", b, BRIDGE[family], neighbour),
            ];
            if family == 0 {
                places.push(("127.0.0.1", &ground.node, "127.0.0.1", Some(BRIDGE[family])));
            }
            for (place, client, to, seen) in places {
                let seen = seen.map(ip);
                let found = tcp(client, at(to, 8080), a, 80, ARRIVES);
                assert!(
                    found.is_ok() && seen.is_none_or(|seen| found == Ok(seen)),
                    "{backend:?} {bridged:?} {place} to {to}: {found:?}"
                );
                let found = udp(client, at(to, 8080), a, 81, ARRIVES);
                assert!(
                    found.is_ok() && seen.is_none_or(|seen| found == Ok(seen)),
                    "{backend:?} {bridged:?} {place} to {to}: {found:?}"
                );
            }
            // Directly, nothing changes.
            assert_eq!(tcp(b, at(POD[family], 80), a, 80, ARRIVES), Ok(ip(SECOND[family])));
        }
        call.del().success();
        assert_eq!(ground.owned(), [""; 0]);
        let refused = tcp(&ground.outside, at(NODE[0], 8080), a, 80, ARRIVES);
        assert!(refused.as_ref().is_err_and(|e| e.contains("refused")), "{refused:?}");
    }
}

#[test]
fn to_localhost_of_ipv6_is_refused_at_once_and_a_service_there_stays() {
    // IPv6 has no route_localnet: the reference's rules lead such a connection nowhere, until it times out.
    let ground = Ground::new(&["a"]);
    ground.call(0, json!({}), json!([port(8080, 80, "tcp")])).add().success();
    let refused = tcp(&ground.node, at("::1", 8080), ground.pod(0), 80, ARRIVES);
    assert!(refused.as_ref().is_err_and(|e| e.contains("refused")), "{refused:?}");
    assert_eq!(tcp(&ground.node, at("::1", 8080), &ground.node, 8080, ARRIVES), Ok(ip("::1")));
}

#[test]
fn a_pod_of_another_bridge_is_seen_as_itself() {
    for backend in BACKENDS {
        let ground = Ground::new(&["a"]);
        let far = conf::gateway(&["10.2.0.0/24"], json!({ "isDefaultGateway": true, "bridge": "cni1", "name": "far" }));
        let other = ground.node.pod("far");
        ground.node.typed(&far).pod(&other).add().success();
        ground.call(0, json!({ "backend": backend }), json!([port(8080, 80, "tcp")])).add().success();
        for to in [NODE[0], "10.2.0.1"] {
            assert_eq!(tcp(&other, at(to, 8080), ground.pod(0), 80, ARRIVES), Ok(ip("10.2.0.2")), "{backend}");
        }
    }
}

#[test]
fn transit_is_left_alone() {
    for backend in BACKENDS {
        let ground = Ground::new(&["a", "b"]);
        ground.outside.sh(&["ip", "route", "add", "10.1.0.0/24", "via", NODE[0]]);
        ground.outside.sh(&["ip", "route", "add", "fd00:1::/64", "via", NODE[1]]);
        ground
            .call(0, json!({ "backend": backend }), json!([port(8080, 80, "tcp"), port(8080, 80, "udp")]))
            .add()
            .success();
        for (family, pod) in SECOND.iter().enumerate() {
            let to = at(OUTSIDE[family], 8080);
            assert_eq!(tcp(ground.pod(1), to, &ground.outside, 8080, ARRIVES), Ok(ip(pod)), "{backend}");
            assert_eq!(udp(ground.pod(1), to, &ground.outside, 8080, ARRIVES), Ok(ip(pod)), "{backend}");
            let back = tcp(&ground.outside, at(pod, 8080), ground.pod(1), 8080, ARRIVES);
            assert_eq!(back, Ok(ip(OUTSIDE[family])), "{backend}");
        }
    }
}

#[test]
fn a_host_ip_is_the_only_one() {
    for backend in BACKENDS {
        let ground = Ground::new(&["a"]);
        let a = ground.pod(0);
        let ports = json!([
            port_of(NODE[0], 8080, "tcp"),
            port_of(NODE[1], 8080, "tcp"),
            port_of("127.0.0.1", 8081, "tcp"),
            port_of("0.0.0.0", 8082, "tcp"),
            port_of("::", 8083, "tcp")
        ]);
        let call = ground.call(0, json!({ "backend": backend }), ports);
        call.add().success();
        call.check().success();
        let reached = |to: &str, port: u16| tcp(&ground.node, at(to, port), a, 80, ARRIVES).is_ok();
        for (port, to) in [
            (8080, &[NODE[0], NODE[1]][..]),
            (8081, &["127.0.0.1"]),
            (8082, &[NODE[0], BRIDGE[0], "127.0.0.1"]),
            (8083, &[NODE[1], BRIDGE[1]]),
        ] {
            for address in [NODE[0], NODE[1], BRIDGE[0], BRIDGE[1], "127.0.0.1"] {
                assert_eq!(reached(address, port), to.contains(&address), "{backend}: {address} {port}");
            }
        }
        assert!(tcp(&ground.outside, at(NODE[0], 8080), a, 80, ARRIVES).is_ok());
        call.del().success();
        assert_eq!(ground.owned(), [""; 0]);
    }
}

#[test]
fn nothing_on_the_wire_reaches_loopback_services() {
    for backend in BACKENDS {
        let ground = Ground::new(&["a", "b"]);
        ground.call(0, json!({ "backend": backend }), json!([port(8080, 80, "tcp")])).add().success();
        assert_eq!(ground.node.sysctl("net/ipv4/conf/cni0/route_localnet"), "1");
        let attacker = ground.pod(1);
        for line in [
            "ip addr del 127.0.0.1/8 dev lo",
            "ip route add 127.0.0.1 via 10.1.0.1 dev eth0 src 10.1.0.3",
            "sysctl -qw net.ipv4.conf.eth0.route_localnet=1",
        ] {
            attacker.sh(&line.split(' ').collect::<Vec<_>>());
        }
        let attack = |wait| tcp(attacker, at("127.0.0.1", 7777), &ground.node, 7777, wait);
        assert!(attack(BLOCKED).is_err(), "{backend}");
        // The same attack without the guard gets through: it is the guard that stops it.
        match backend {
            "nftables" => drop(ground.node.sh(&["nft", "flush", "chain", "inet", "podlink_hostport", "loopback"])),
            _ => drop(ground.node.sh(&["iptables", "-t", "raw", "-F", "CNI-HOSTPORT-GUARD"])),
        }
        assert_eq!(attack(ARRIVES), Ok(ip("10.1.0.3")), "{backend}");
    }
}

#[test]
fn without_snat_nothing_is_masqueraded_and_with_masq_all_everything() {
    for backend in BACKENDS {
        let ground = Ground::new(&["a"]);
        let a = ground.pod(0);
        let ports = json!([port(8080, 80, "tcp")]);
        let call = ground.call(0, json!({ "backend": backend, "snat": false }), ports.clone());
        call.add().success();
        call.check().success();
        assert_eq!(ground.node.sysctl("net/ipv4/conf/cni0/route_localnet"), "0");
        assert_eq!(tcp(&ground.outside, at(NODE[0], 8080), a, 80, ARRIVES), Ok(ip(OUTSIDE[0])));
        assert!(tcp(a, at(NODE[0], 8080), a, 80, BLOCKED).is_err());
        call.del().success();
        let call = ground.call(0, json!({ "backend": backend, "masqAll": true }), ports);
        call.add().success();
        call.check().success();
        for family in 0..2 {
            for (client, to) in [(&*ground.outside, NODE[family]), (a, BRIDGE[family])] {
                assert_eq!(tcp(client, at(to, 8080), a, 80, ARRIVES), Ok(ip(BRIDGE[family])), "{backend}");
            }
        }
        assert_eq!(tcp(&ground.node, at("127.0.0.1", 8080), a, 80, ARRIVES), Ok(ip(BRIDGE[0])));
        call.del().success();
        assert_eq!(ground.owned(), [""; 0]);
    }
}

#[test]
fn datagrams_of_an_old_connection_find_the_new_pod() {
    for backend in BACKENDS {
        let ground = Ground::new(&["a", "b"]);
        let (a, b) = (ground.pod(0), ground.pod(1));
        let to = at(NODE[0], 5353);
        let socket = ground.outside.run(|| UdpSocket::bind("0.0.0.0:0")).unwrap_or_else(|e| panic!("bind: {e}"));
        // Known to the node before there is a mapping; and another, of the same port, that only passes through.
        ground.node.sh(&["nft", "add table ip track; add chain ip track f { type filter hook prerouting priority 0; }; add rule ip track f ct state new counter"]);
        assert_eq!(exchange(&socket, to, &ground.node, 5353, ARRIVES), Ok(ip(OUTSIDE[0])));
        let calls = [0, 1].map(|pod| ground.call(pod, json!({ "backend": backend }), json!([port(5353, 53, "udp")])));
        calls[0].add().success();
        assert_eq!(exchange(&socket, to, a, 53, ARRIVES), Ok(ip(OUTSIDE[0])), "{backend}: ADD");
        calls[0].del().success();
        assert_eq!(exchange(&socket, to, &ground.node, 5353, ARRIVES), Ok(ip(OUTSIDE[0])), "{backend}: DEL");
        calls[1].add().success();
        assert_eq!(exchange(&socket, to, b, 53, ARRIVES), Ok(ip(OUTSIDE[0])), "{backend}: the next pod");
    }
}

#[test]
fn connections_of_other_ports_and_hosts_are_remembered() {
    let ground = Ground::new(&["a"]);
    ground.outside.sh(&["ip", "route", "add", "10.1.0.0/24", "via", NODE[0]]);
    ground.node.sh(&["nft", "add table ip track; add chain ip track f { type filter hook prerouting priority 0; }; add rule ip track f ct state new udp dport { 53, 54 } counter; add rule ip track f ct state new udp dport 99 counter"]);
    let pod = ground.pod(0);
    let new = || -> u64 {
        let rules = ground.nft(&["list", "chain", "ip", "track", "f"]);
        rules["nftables"]
            .to_string()
            .split("\"packets\":")
            .nth(1)
            .and_then(|rest| rest.split(',').next()?.parse().ok())
            .unwrap_or(0)
    };
    let transit = pod.run(|| UdpSocket::bind("0.0.0.0:0")).unwrap_or_else(|e| panic!("bind: {e}"));
    let other = ground.outside.run(|| UdpSocket::bind("0.0.0.0:0")).unwrap_or_else(|e| panic!("bind: {e}"));
    let both = || {
        assert_eq!(exchange(&transit, at(OUTSIDE[0], 53), &ground.outside, 53, ARRIVES), Ok(ip(POD[0])));
        assert_eq!(exchange(&other, at(NODE[0], 54), &ground.node, 54, ARRIVES), Ok(ip(OUTSIDE[0])));
    };
    both();
    let before = new();
    let call = ground.call(0, json!({}), json!([port(53, 53, "udp")]));
    call.add().success();
    both();
    call.del().success();
    both();
    assert_eq!((before, new()), (2, 2), "connections that the plugin has no business with had to begin anew");
}
