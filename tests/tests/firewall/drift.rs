//! CHECK finds each drift, and a repeated ADD repairs it.

use podlink_tests::Node;
use serde_json::json;

use crate::{Make, Net, address};

#[test]
fn check_finds_each_drift_of_ours_and_add_repairs_it() {
    let node = Node::new();
    let member = Net::new(json!({ "backend": "nftables", "ingressPolicy": "isolated" })).attach(&node, "a");
    let (v4, port) = (member.v4().to_string(), member.result["interfaces"][1]["name"].as_str().unwrap().to_owned());
    member.call.check().success();
    for drift in [
        format!("delete element inet podlink_filter pods4 {{ {v4} }}"),
        format!(
            "delete element inet podlink_filter pods4 {{ {v4} }}; add element inet podlink_filter pods4 {{ {v4} comment \"podlink:x/y/z\" }}"
        ),
        "flush set inet podlink_filter pods6".to_owned(),
        "flush set inet podlink_filter members".to_owned(),
        "flush set inet podlink_filter fenced".to_owned(),
        "flush set inet podlink_filter isolated".to_owned(),
        format!("delete element bridge podlink_filter isolated {{ {port} }}"),
        "flush chain inet podlink_filter forward".to_owned(),
        "add rule inet podlink_filter forward accept".to_owned(),
        "insert rule inet podlink_filter ingress return".to_owned(),
        "flush chain bridge podlink_filter forward".to_owned(),
        "delete table bridge podlink_filter".to_owned(),
        "delete table inet podlink_filter".to_owned(),
    ] {
        node.sh(&["nft", &drift]);
        let error = member.call.check().failure();
        assert!(error.text.contains("podlink_filter") && error.text.contains("has changed"), "{drift}: {}", error.text);
        member.call.add().success();
        member.call.check().success();
    }
}

#[test]
fn check_finds_each_drift_in_iptables_and_add_repairs_it() {
    for make in [Make::Nft, Make::Legacy] {
        let node = Node::new();
        let net = Net::new(json!({ "backend": "iptables", "ingressPolicy": "isolated" }));
        let pod = node.pod("a");
        let result = net.wire(&node, &pod);
        let call = make.of(&node, net.call(&node, &pod, &result));
        call.add().success();
        call.check().success();
        let (v4, v6) = (format!("{}/32", address(&result, 0)), format!("{}/128", address(&result, 1)));
        let fence = "CNI firewall plugin rules (ingressPolicy: same-bridge)";
        for (family, lines) in [
            ("iptables", vec![vec!["-D", "CNI-FORWARD", "-s", &v4, "-j", "ACCEPT"]]),
            (
                "ip6tables",
                vec![vec![
                    "-D",
                    "CNI-FORWARD",
                    "-d",
                    &v6,
                    "-m",
                    "conntrack",
                    "--ctstate",
                    "RELATED,ESTABLISHED",
                    "-j",
                    "ACCEPT",
                ]],
            ),
            ("iptables", vec![vec!["-D", "CNI-FORWARD", "1"]]),
            ("iptables", vec![vec!["-F", "FORWARD"]]),
            ("ip6tables", vec![vec!["-F", "CNI-ISOLATION-STAGE-1"]]),
            ("iptables", vec![vec!["-F", "CNI-ISOLATION-STAGE-2"]]),
            // The fences behind the rules that accept.
            (
                "iptables",
                vec![
                    vec!["-D", "FORWARD", "-m", "comment", "--comment", fence, "-j", "CNI-ISOLATION-STAGE-1"],
                    vec!["-A", "FORWARD", "-m", "comment", "--comment", fence, "-j", "CNI-ISOLATION-STAGE-1"],
                ],
            ),
            ("iptables", vec![vec!["-F"], vec!["-X"]]),
        ] {
            for line in &lines {
                make.sh(&node, family, line);
            }
            let error = call.check().failure();
            assert!(error.text.contains("filter table of"), "{make:?} {lines:?}: {}", error.text);
            call.add().success();
            call.check().success();
        }
        let order = make.rules(&node, "iptables", "FORWARD");
        assert!(order[0].ends_with("CNI-ISOLATION-STAGE-1") && order[1].ends_with("CNI-FORWARD"), "{order:?}");
        assert_eq!(order.len(), 2, "{order:?}");
    }
}
