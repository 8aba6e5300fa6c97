//! One port, several who want it.

use std::process::Command;

use podlink_tests::outside::NODE;
use podlink_tests::{BinDir, Call, conf, need};
use serde_json::json;

use crate::ground::*;

#[test]
fn a_held_port_names_its_holder_and_nothing_changes() {
    for backend in BACKENDS {
        let ground = Ground::new(&["a", "b"]);
        let keys = json!({ "backend": backend });
        let any = |protocol: &str| port(8080, 80, protocol);
        let conflicts = [
            (any("tcp"), any("tcp"), true),
            (any("tcp"), port_of(NODE[0], 8080, "tcp"), true),
            (port_of(NODE[0], 8080, "tcp"), any("tcp"), true),
            (port_of(NODE[1], 8080, "tcp"), any("tcp"), true),
            (port_of(NODE[0], 8080, "tcp"), port_of("0.0.0.0", 8080, "tcp"), true),
            (port_of("::", 8080, "tcp"), any("tcp"), true),
            (port_of(NODE[0], 8080, "udp"), port_of(NODE[0], 8080, "udp"), true),
            (any("tcp"), any("udp"), false),
            (any("tcp"), port(8081, 80, "tcp"), false),
            (port_of(NODE[0], 8080, "tcp"), port_of(BRIDGE[0], 8080, "tcp"), false),
            (port_of("0.0.0.0", 8080, "tcp"), port_of("::", 8080, "tcp"), false),
        ];
        for (held, wanted, refused) in conflicts {
            let case = format!("{backend}: {held} then {wanted}");
            let first = ground.call(0, keys.clone(), json!([held]));
            let second = ground.call(1, keys.clone(), json!([port(9000, 1, "udp"), wanted]));
            first.add().success();
            let before = ground.owned();
            if refused {
                let error = second.add().failure();
                for word in ["8080", "pod-a", "\"net\"", "portMappings", "already held"] {
                    assert!(error.text.replace("net id:", "\"net\"").contains(word), "{case}: {word}: {}", error.text);
                }
                assert_eq!(ground.owned(), before, "{case}");
                // The runtime's DEL of the failed ADD takes nothing from the holder.
                second.del().success();
                assert_eq!(ground.owned(), before, "{case}");
                first.check().success();
            } else {
                second.add().success();
                first.check().success();
                second.check().success();
            }
            first.del().success();
            second.add().success();
            second.check().success();
            second.del().success();
            assert_eq!(ground.owned(), [""; 0], "{case}");
        }
    }
}

#[test]
fn the_backends_respect_each_other_and_the_reference() {
    for (holder, keys) in [
        (BinDir::ours(), [json!({ "backend": "iptables" }), json!({ "backend": "nftables" })]),
        (BinDir::ours(), [json!({ "backend": "nftables" }), json!({ "backend": "iptables" })]),
        (BinDir::reference(), [json!({}), json!({})]),
    ] {
        let ground = Ground::new(&["a", "b"]);
        let version = json!({ "cniVersion": "1.0.0" });
        let mut result = ground.pods[0].1.clone();
        result["cniVersion"] = json!("1.0.0");
        let config = portmap(conf::with(version, keys[0].clone()), json!([port(8080, 80, "tcp")]));
        let first = ground.node.plugin(&holder, "portmap").pod(ground.pod(0)).config(&config).prev_result(&result);
        first.add().success();
        let before = ground.owned();
        let error = ground.call(1, keys[1].clone(), json!([port_of(NODE[0], 8080, "tcp")])).add().failure();
        assert!(error.text.contains("already held") && error.text.contains("pod-a"), "{keys:?}: {}", error.text);
        assert_eq!(ground.owned(), before);
        let other = ground.call(1, keys[1].clone(), json!([port(8081, 80, "tcp"), port(8080, 80, "udp")]));
        other.add().success();
        other.check().success();
    }
}

#[test]
fn a_container_on_two_networks_has_its_ports_through_the_first() {
    // As podman and nerdctl do, which ask for a container's ports on each of its networks.
    for backend in BACKENDS {
        let ground = Ground::new(&["a", "b"]);
        let pod = ground.pod(0);
        let far = conf::gateway(&["10.2.0.0/24"], json!({ "bridge": "cni1", "name": "far" }));
        let result = ground.node.typed(&far).ifname("eth1").pod(pod).add().success();
        let ports = json!([port(8080, 80, "tcp"), port_of(NODE[1], 90, "udp")]);
        let first = ground.call(0, json!({ "backend": backend }), ports);
        let config = portmap(
            json!({ "backend": backend, "name": "far" }),
            json!([port(8080, 80, "tcp"), port(8081, 80, "tcp")]),
        );
        let second = ground.node.typed(&config).ifname("eth1").pod(pod).prev_result(&result);
        for call in [&first, &second, &second, &first] {
            call.add().success();
        }
        first.check().success();
        second.check().success();
        assert!(ground.call(1, json!({ "backend": backend }), json!([port(8081, 80, "tcp")])).add().code() == Some(1));
        for port in [8080, 8081] {
            assert!(tcp(&ground.node, at("127.0.0.1", port), pod, 80, ARRIVES).is_ok(), "{backend}: {port}");
        }
        second.del().success();
        first.check().success();
        first.del().success();
        assert_eq!(ground.owned(), [""; 0]);
    }
}

#[test]
fn single_addresses_of_one_port_come_and_go_in_any_order() {
    let ground = Ground::new(&["a", "b", "c", "d"]);
    let addresses = [NODE[0], BRIDGE[0], "127.0.0.1"];
    let calls: Vec<Call<'_>> = addresses
        .iter()
        .enumerate()
        .map(|(i, address)| ground.call(i, json!({}), json!([port_of(address, 8080, "tcp")])))
        .collect();
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
        calls.iter().for_each(|call| drop(call.add().success()));
        for (gone, index) in order.into_iter().enumerate() {
            let everywhere = ground.call(3, json!({}), json!([port(8080, 80, "tcp")]));
            let refused = everywhere.add().failure();
            assert!(refused.text.contains("already held"), "{gone}: {}", refused.text);
            calls[index].del().success();
        }
        assert_eq!(ground.owned(), [""; 0]);
        let everywhere = ground.call(0, json!({}), json!([port(8080, 80, "tcp")]));
        everywhere.add().success();
        everywhere.del().success();
    }
}

#[test]
fn a_dead_pods_address_belongs_to_the_living() {
    // The IPAM plugin freed the address, but nobody told portmap.
    let ground = Ground::new(&["a"]);
    let (pod, result) = &ground.pods[0];
    let config = |port_number| portmap(json!({}), json!([port(port_number, 80, "tcp")]));
    let dead = ground.node.typed(&config(8080)).pod(pod).env("CNI_CONTAINERID", "dead").prev_result(result);
    dead.add().success();
    let living = ground.node.typed(&config(8081)).pod(pod).prev_result(result);
    living.add().success();
    living.check().success();
    dead.del().success();
    living.check().success();
    assert_eq!(tcp(pod, at(NODE[0], 8081), pod, 80, ARRIVES), Ok(ip(BRIDGE[0])));
    living.del().success();
    assert_eq!(ground.owned(), [""; 0]);
}

#[test]
fn of_many_who_want_one_port_one_gets_it() {
    for backend in BACKENDS {
        let ground = Ground::new(&["a"]);
        let (pod, result) = &ground.pods[0];
        let hosts = ["", "0.0.0.0", NODE[0], BRIDGE[0]];
        let calls: Vec<Call<'_>> = (0..12)
            .map(|number| {
                let config = portmap(json!({ "backend": backend }), json!([port_of(hosts[number % 4], 8080, "tcp")]));
                ground.node.typed(&config).pod(pod).env("CNI_CONTAINERID", format!("pod-{number}")).prev_result(result)
            })
            .collect();
        for _ in 0..3 {
            let won: Vec<usize> = std::thread::scope(|scope| {
                let running: Vec<_> =
                    calls.iter().map(|call| scope.spawn(move || call.add().code() == Some(0))).collect();
                let won = running
                    .into_iter()
                    .map(|call| call.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
                won.enumerate().filter_map(|(number, won)| won.then_some(number)).collect()
            });
            // Either one that has every address, or one for each single address.
            let expected: &[&[usize]] = &[&[0], &[1], &[2, 3], &[2], &[3]];
            let mut kinds: Vec<usize> = won.iter().map(|number| number % 4).collect();
            kinds.sort_unstable();
            assert!(expected.contains(&kinds.as_slice()), "{backend}: {won:?}");
            calls.iter().for_each(|call| drop(call.del().success()));
            assert_eq!(ground.owned(), [""; 0], "{backend}");
        }
    }
}

#[test]
fn ports_of_the_references_nftables_backend_are_respected() {
    let ground = Ground::new(&["a", "b"]);
    // As containernetworking/plugins 1.6 makes them.
    let ruleset = r#"
        table ip cni_hostport {
            chain hostports { tcp dport 8080 dnat to 10.1.0.3:80 comment "pod-b"; }
            chain hostip_hostports { ip daddr 192.0.2.1 udp dport 53 dnat to 10.1.0.3:53 comment "pod-b"; }
        }
        table ip6 cni_hostport { chain hostports { tcp dport 9090 dnat to [fd00:1::3]:80 comment "pod-b"; }; }"#;
    ground.node.finish(Command::new(need::tool("nft")).args(["-f", "-"]), ruleset.as_bytes()).success();
    for backend in BACKENDS {
        let call = |index, port| ground.call(index, json!({ "backend": backend }), json!([port]));
        for (wanted, refused) in [
            (port(8080, 80, "tcp"), true),
            (port_of(NODE[0], 8080, "tcp"), true),
            (port(9090, 80, "tcp"), true),
            (port(53, 53, "udp"), true),
            (port_of(NODE[0], 53, "udp"), true),
            (port_of(BRIDGE[0], 53, "udp"), false),
            (port(8080, 80, "udp"), false),
            (port_of("0.0.0.0", 9090, "tcp"), false),
        ] {
            let first = call(0, wanted.clone());
            if refused {
                let before = ground.owned();
                let error = first.add().failure();
                for word in ["already held", "pod-b", "cni_hostport"] {
                    assert!(error.text.contains(word), "{backend} {wanted}: {}", error.text);
                }
                assert_eq!(ground.owned(), before);
            } else {
                first.add().success();
                first.del().success();
            }
            // Its own are no conflict.
            let own = call(1, wanted);
            own.add().success();
            own.check().success();
            // DEL would remove what the reference left.
            ground.gc(json!({}), &[]);
        }
    }
}

#[test]
fn ports_in_chains_of_the_other_make_of_iptables_are_respected_and_removed() {
    for make in ["legacy", "nft"] {
        let other = if make == "legacy" { "nft" } else { "legacy" };
        let ground = Ground::new(&["a", "b"]);
        let path = |make: &str| format!("{}:/usr/sbin:/usr/bin", iptables_of(&ground, make).display());
        let keys = |backend: &str| json!({ "backend": backend });
        let ports = json!([port(8080, 80, "tcp")]);
        let first = ground.call(0, keys("iptables"), ports.clone()).env("PATH", path(make));
        first.add().success();
        let jumps = || ground.node.sh(&[&format!("ip6tables-{make}-save")]).matches("-j CNI-DN-").count();
        assert_eq!(jumps(), 1);
        for backend in BACKENDS {
            let second = ground.call(1, keys(backend), ports.clone()).env("PATH", path(other));
            let error = second.add().failure();
            assert!(error.text.contains("already held") && error.text.contains("pod-a"), "{make} {backend}: {error:?}");
            let free = ground.call(1, keys(backend), json!([port(8081, 80, "tcp")])).env("PATH", path(other));
            free.add().success();
            free.del().success();
        }
        // The same attachment may move to another backend.
        ground.call(0, keys("nftables"), ports.clone()).env("PATH", path(other)).add().success();
        ground.call(0, json!({}), json!([])).env("PATH", path(other)).del().success();
        assert_eq!(jumps(), 0, "{make}");
        first.add().success();
        let gc = json!({ "cniVersion": "1.1.0", "name": "net", "type": "portmap", "cni.dev/valid-attachments": [] });
        ground.node.typed(&gc).env("PATH", path(other)).run("GC").success();
        assert_eq!(jumps(), 0, "{make}");
    }
}

#[test]
fn where_nobody_else_maps_ports_one_query_tells() {
    let ground = Ground::new(&["a"]);
    // Older tables that are in use, without any chain of a container.
    for family in ["iptables", "ip6tables"] {
        for make in ["nft", "legacy"] {
            ground.node.sh(&[&format!("{family}-{make}"), "-w", "-t", "nat", "-N", "SOMEBODYS"]);
        }
    }
    let call = ground.call(0, json!({}), json!([port(8080, 80, "tcp")]));
    for verb in ["ADD", "ADD", "DEL"] {
        let plugin = call.command(verb);
        let mut strace = Command::new(need::tool("strace"));
        strace.args(["-f", "-qqq", "-e", "trace=execve,execveat"]).arg(plugin.get_program()).env_clear();
        strace.envs(plugin.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let traced = ground.node.finish(&mut strace, call.input());
        assert_eq!((traced.code, traced.stderr.matches("exec").count()), (Some(0), 1), "{verb}: {traced}");
    }
}
