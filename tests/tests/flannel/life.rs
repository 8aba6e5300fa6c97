//! ADD, CHECK and STATUS.

use podlink_tests::compare::Labels;
use podlink_tests::{Attached, BinDir, Node, Outside};
use serde_json::{Value, json};

use crate::{SUBNET_ENV, flannel, kept, lease, node_with, suite};

#[test]
fn a_pod_gets_what_flanneld_leased() {
    let node = node_with(SUBNET_ENV);
    let outside = Outside::of(&node);
    let at = Attached::on(node, &flannel(json!({})));
    assert_eq!(at.pod.addresses("eth0"), ["10.244.1.2/24"]);
    assert_eq!(at.addresses("cni0"), ["10.244.1.1/24"]);
    assert_eq!((at.eth0()["mtu"].clone(), at.port()["mtu"].clone()), (json!(1450), json!(1450)));
    let routes: Vec<String> = at.pod.routes().iter().map(|route| format!("{}", route["dst"])).collect();
    assert_eq!(routes, ["\"default\"", "\"10.244.0.0/16\"", "\"10.244.1.0/24\""]);
    // FLANNEL_IPMASQ=false: flanneld does not masquerade, so the bridge does.
    let seen = at.pod.tcp(&outside, podlink_tests::outside::OUTSIDE[0].parse().unwrap());
    assert_eq!(seen, Ok(podlink_tests::outside::NODE[0].parse().unwrap()));
    at.call().check().success();
    assert_eq!(kept(&at), ["pod-a"]);
    at.call().del().success();
    assert_eq!((kept(&at), at.reserved("net")), (vec![], vec![]));
    assert_eq!(at.rules_of_pods(&["pod-a"]), [""; 0]);
}

#[test]
fn in_one_process_and_in_three_the_same() {
    let dual = format!("{SUBNET_ENV}FLANNEL_IPV6_NETWORK=fd00:244::/56\nFLANNEL_IPV6_SUBNET=fd00:244:0:1::1/64\n");
    for keys in [json!({}), json!({ "delegate": { "type": "ptp" } }), json!({ "cniVersion": "0.3.1" })] {
        let [one, three] = [true, false].map(|one| {
            let node = node_with(&dual);
            let bins = if one { suite(&node) } else { BinDir::ours() };
            let pod = node.pod("a");
            let call = node.plugin(&bins, "flannel").pod(&pod).config(&flannel(keys.clone()));
            let result = call.add().success();
            let again = call.add().failure();
            assert!(again.text.contains("already attached"), "{again:?}");
            let mut labels = Labels::with_any_mac_of("cni0");
            let state = (labels.result(&result), labels.kernel(&pod), kept(&node));
            let call = call.prev_result(&result);
            if keys["cniVersion"] != "0.3.1" {
                call.check().success();
                std::fs::remove_file(node.outside("/var/lib/cni/networks/net/10.244.1.2")).unwrap();
                assert!(call.check().failure().text.contains("10.244.1.2"));
            }
            call.del().success();
            call.del().success();
            assert_eq!((kept(&node), node.reserved("net")), (vec![], vec![]));
            state
        });
        assert_eq!(one, three, "{keys}");
        let ips = one.0["ips"].as_array().unwrap().iter().map(|ip| ip["address"].clone()).collect::<Vec<_>>();
        assert_eq!(ips, ["10.244.1.2/24", "fd00:244:0:1::2/64"]);
    }
}

#[test]
fn the_runtime_and_the_config_have_a_say() {
    let keys = json!({
        "delegate": { "bridge": "cni-fl0", "mtu": 1400, "ipMasq": false },
        "ipam": { "routes": [{ "dst": "192.168.0.0/16" }], "dataDir": "/run/addresses" },
        "runtimeConfig": { "mac": "02:00:00:00:00:07", "ips": ["10.244.1.77"] },
    });
    let at = Attached::on(node_with(SUBNET_ENV), &flannel(keys));
    assert_eq!(at.pod.addresses("eth0"), ["10.244.1.77/24"]);
    assert_eq!((at.eth0()["address"].clone(), at.eth0()["mtu"].clone()), (json!("02:00:00:00:00:07"), json!(1400)));
    assert!(at.outside("/run/addresses/net/10.244.1.77").is_file());
    assert!(at.pod.routes().iter().any(|route| route["dst"] == "192.168.0.0/16"));
    assert_eq!((at.addresses("cni-fl0"), at.rules_of_pods(&["pod-a"])), (vec!["10.244.1.1/24".to_owned()], vec![]));
    at.call().check().success();
    at.call().del().success();
    assert!(!at.outside("/run/addresses/net/10.244.1.77").exists());
}

#[test]
fn without_a_lease_nothing_is_done_and_status_says_50() {
    let node = Node::new();
    let pod = node.pod("a");
    let config = flannel(json!({}));
    let (add, status) = (|| node.typed(&config).pod(&pod).add(), || node.typed(&config).run("STATUS"));
    let error = add().failure();
    assert!(error.code == 11 && error.text.contains("/run/flannel/subnet.env"), "{error:?}");
    assert!(error.text.contains("flanneld"), "{error:?}");
    assert_eq!(status().failure().code, 50);
    lease(&node, "FLANNEL_SUBNET=10.244.1.1/24\n");
    let error = add().failure();
    assert!(error.text.contains("missing FLANNEL_NETWORK") && error.text.contains("FLANNEL_MTU"), "{error:?}");
    assert_eq!(status().failure().code, 50);
    lease(&node, SUBNET_ENV);
    status().success();
    let missing = flannel(json!({ "delegate": { "type": "nonesuch" } }));
    assert_eq!(node.typed(&missing).run("STATUS").failure().code, 50);
    let error = node.typed(&missing).pod(&pod).add().failure();
    assert!(error.text.contains("delegate.type") && error.text.contains("nonesuch"), "{error:?}");
    for (keys, word) in [
        (json!({ "delegate": { "ipam": {} } }), "ipam"),
        (json!({ "delegate": { "name": "x" } }), "name"),
        (json!({ "delegate": { "type": "flannel" } }), "itself"),
        (json!({ "delegate": { "mtu": 30 } }), "mtu"),
    ] {
        let error = node.typed(&flannel(keys)).pod(&pod).add().failure();
        assert!(error.code == 7 && error.text.contains(word), "{error:?}");
    }
    assert_eq!((node.link_names(), kept(&node), node.reserved("net")), (vec![], vec![], vec![]));
}

#[test]
fn the_delegated_config_is_what_the_reference_would_make() {
    // A plugin that shows what it was given: the reference's flannel is not on this machine, its rules are in the test.
    let node = node_with(SUBNET_ENV);
    let pod = node.pod("a");
    let script = r#"cat >/run/given; echo '{"cniVersion": "1.0.0", "ips": []}'"#;
    let bins = BinDir::with_script(&node, "shown", script);
    podlink_tests::files::copy_program(&BinDir::ours().plugin("flannel"), &bins.path().join("flannel"));
    let keys =
        json!({ "cniVersion": "1.0.0", "delegate": { "type": "shown", "vendor": [1] }, "runtimeConfig": { "x": 1 } });
    node.plugin(&bins, "flannel").pod(&pod).config(&flannel(keys)).add().success();
    let given: Value = serde_json::from_slice(&std::fs::read(node.outside("/run/given")).unwrap()).unwrap();
    let expected = json!({
        "cniVersion": "1.0.0", "name": "net", "type": "shown", "vendor": [1], "runtimeConfig": { "x": 1 },
        "ipMasq": true, "mtu": 1450,
        "ipam": {
            "type": "host-local", "ranges": [[{ "subnet": "10.244.1.0/24" }]], "routes": [{ "dst": "10.244.0.0/16" }],
        },
    });
    assert_eq!(given, expected);
    let file = node.outside("/var/lib/cni/flannel/pod-a");
    assert_eq!(serde_json::from_slice::<Value>(&std::fs::read(file).unwrap()).unwrap(), expected);
}
