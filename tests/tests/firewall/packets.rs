//! What passes, seen by packets: where FORWARD drops, where nothing does, and where our own chain is closed.

use std::process::Command;

use podlink_tests::{Node, need};
use serde_json::json;

use crate::{Make, Net, address, all_elements, cut_off, elements, outside_address, outside_of, reaches};

#[test]
fn where_forward_drops_the_pods_traffic_passes_until_del() {
    for make in [Make::Nft, Make::Legacy] {
        let node = Node::new();
        let outside = outside_of(&node);
        for family in ["iptables", "ip6tables"] {
            make.sh(&node, family, &["-P", "FORWARD", "DROP"]);
        }
        let net = Net::new(json!({}));
        let pod = node.pod("a");
        let result = net.wire(&node, &pod);
        let (v4, v6) = (address(&result, 0), address(&result, 1));
        assert!(cut_off(&pod, outside_address(0)) && cut_off(&pod, outside_address(1)), "{make:?} drops");

        let call = make.of(&node, net.call(&node, &pod, &result));
        call.add().success();
        for (index, own) in [v4, v6].into_iter().enumerate() {
            let to = outside_address(index);
            assert_eq!(pod.tcp(&outside, to), Ok(own), "{make:?}");
            assert_eq!(pod.udp(&outside, to), Ok(own), "{make:?}");
            assert!(reaches(&pod, to), "{make:?}");
            // As with the reference: from outside only what belongs to a connection.
            assert!(cut_off(&outside, own), "{make:?}");
        }
        call.check().success();
        call.del().success();
        assert!(cut_off(&pod, outside_address(0)) && cut_off(&pod, outside_address(1)), "{make:?} drops again");
        for family in ["iptables", "ip6tables"] {
            assert_eq!(make.rules(&node, family, "CNI-FORWARD").len(), 1, "only the jump to CNI-ADMIN is left");
        }
        assert_eq!(all_elements(&node), [json!(null); 0]);
    }
}

#[test]
fn where_nothing_drops_there_is_no_process_and_no_rule_for_a_pod() {
    let node = Node::new();
    let outside = outside_of(&node);
    let net = Net::new(json!({}));
    let first = net.attach(&node, "a");
    let before = node.sh(&["nft", "list", "chain", "inet", "podlink_filter", "forward"]);
    let second = net.attach(&node, "b");
    assert_eq!(node.sh(&["nft", "list", "chain", "inet", "podlink_filter", "forward"]), before);
    assert_eq!(node.sh(&["nft", "list", "tables"]), "table inet podlink_filter\n");
    assert_eq!((elements(&node, "inet", "pods4").len(), elements(&node, "inet", "pods6").len()), (2, 2));
    for (index, own) in [first.v4(), first.v6()].into_iter().enumerate() {
        assert!(reaches(&first.pod, outside_address(index)) && reaches(&outside, own));
    }
    for verb in ["ADD", "CHECK", "DEL", "DEL"] {
        let plugin = second.call.command(verb);
        let mut strace = Command::new(need::tool("strace"));
        strace.args(["-f", "-qqq", "-e", "trace=execve,execveat"]).arg(plugin.get_program()).env_clear();
        strace.envs(plugin.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let traced = node.finish(&mut strace, second.call.input());
        assert_eq!((traced.code, traced.stderr.matches("exec").count()), (Some(0), 1), "{verb}: {traced}");
    }
    assert_eq!(elements(&node, "inet", "pods4").len(), 1);
}

#[test]
fn our_own_chain_can_be_closed_for_all_but_pods() {
    let node = Node::new();
    let outside = outside_of(&node);
    let net = Net::new(json!({ "backend": "nftables" }));
    let member = net.attach(&node, "a");
    node.sh(&["nft", "add chain inet podlink_filter forward { policy drop; }"]);
    let stranger = node.pod("b");
    let result = net.wire(&node, &stranger);
    assert!(reaches(&member.pod, outside_address(0)) && cut_off(&outside, member.v4()));
    assert!(cut_off(&stranger, outside_address(0)));
    // Neither a repeated ADD nor another pod takes the administrator's policy and rules away.
    node.sh(&["nft", "add rule inet podlink_filter admin ip saddr 192.0.2.2 accept"]);
    member.call.add().success();
    net.call(&node, &stranger, &result).add().success();
    assert!(reaches(&stranger, outside_address(0)) && reaches(&outside, member.v4()));
    let listed = node.sh(&["nft", "list", "chain", "inet", "podlink_filter", "forward"]);
    assert!(listed.contains("policy drop"), "{listed}");
    member.call.check().success();
}

#[test]
fn a_forward_chain_that_starts_to_drop_is_drift() {
    let node = Node::new();
    let member = Net::new(json!({})).attach(&node, "a");
    member.call.check().success();
    node.sh(&["iptables-nft", "-P", "FORWARD", "DROP"]);
    assert!(member.call.check().failure().text.contains("the filter table of iptables"));
    member.call.add().success();
    member.call.check().success();
}

#[test]
fn the_make_of_iptables_that_drops_is_told_whatever_the_nodes_default() {
    for (drops, default) in [(Make::Legacy, Make::Nft), (Make::Nft, Make::Legacy)] {
        for backend in [json!(null), json!("iptables")] {
            let node = Node::new();
            let outside = outside_of(&node);
            for family in ["iptables", "ip6tables"] {
                drops.sh(&node, family, &["-P", "FORWARD", "DROP"]);
            }
            let net = Net::new(json!({ "backend": backend }));
            let pod = node.pod("a");
            let result = net.wire(&node, &pod);
            assert!(cut_off(&pod, outside_address(0)), "{drops:?} drops");
            let call = default.of(&node, net.call(&node, &pod, &result));
            call.add().success();
            call.add().success();
            for index in 0..2 {
                let to = outside_address(index);
                assert_eq!(pod.tcp(&outside, to), Ok(address(&result, index)), "{drops:?} {backend}");
            }
            call.check().success();
            drops.sh(&node, "ip6tables", &["-F", "CNI-FORWARD"]);
            let drift = call.check().failure();
            assert!(drift.text.contains("ip6tables-"), "{drift:?}");
            call.add().success();
            call.check().success();
            // From ownership alone.
            default.of(&node, node.typed(&net.firewall).pod(&pod)).del().success();
            assert!(cut_off(&pod, outside_address(0)), "{drops:?} drops again");
            for family in ["iptables", "ip6tables"] {
                assert_eq!(drops.rules(&node, family, "CNI-FORWARD").len(), 1, "only the jump to CNI-ADMIN is left");
            }
            call.add().success();
            let gc = podlink_tests::conf::with(net.firewall.clone(), json!({ "cni.dev/valid-attachments": [] }));
            default.of(&node, node.typed(&gc)).run("GC").success();
            assert_eq!(drops.rules(&node, "iptables", "CNI-FORWARD").len(), 1);
            assert_eq!(all_elements(&node), [json!(null); 0]);
        }
    }
}

#[test]
fn older_tables_that_drop_nothing_cost_no_process_and_get_no_rule() {
    let node = Node::new();
    outside_of(&node);
    for family in ["iptables", "ip6tables"] {
        Make::Legacy.sh(
            &node,
            family,
            &["-A", "FORWARD", "-s", "192.0.2.77", "-j", "ACCEPT"]
                .map(|word| if family == "ip6tables" && word == "192.0.2.77" { "2001:db8::77" } else { word }),
        );
    }
    let member = Net::new(json!({})).attach(&node, "a");
    for verb in ["ADD", "CHECK", "DEL"] {
        let plugin = member.call.command(verb);
        let mut strace = Command::new(need::tool("strace"));
        strace.args(["-f", "-qqq", "-e", "trace=execve,execveat"]).arg(plugin.get_program()).env_clear();
        strace.envs(plugin.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let traced = node.finish(&mut strace, member.call.input());
        assert_eq!((traced.code, traced.stderr.matches("exec").count()), (Some(0), 1), "{verb}: {traced}");
    }
    assert_eq!(Make::Legacy.rules(&node, "iptables", "FORWARD").len(), 1);
}

#[test]
fn without_the_programs_that_are_needed_add_says_which() {
    let node = Node::new();
    Make::Legacy.sh(&node, "iptables", &["-P", "FORWARD", "DROP"]);
    let net = Net::new(json!({}));
    let pod = node.pod("a");
    let call = Make::Nft.of(&node, net.call(&node, &pod, &net.wire(&node, &pod)));
    // Nothing but the plain names, which are of the other make.
    let plain = node.dir().join("iptables");
    for dir in ["/usr/sbin", "/usr/bin"] {
        hide_programs(&node, dir, "-legacy");
    }
    let refused = call.env("PATH", plain).add().failure();
    assert!(refused.text.contains("iptables-legacy-save"), "{refused:?}");
    assert_eq!(all_elements(&node), [json!(null); 0], "what was recorded is taken back");
}

/// Covers the iptables programs whose names have `part` in them, for the processes of this node alone.
fn hide_programs(node: &Node, dir: &str, part: &str) {
    let named = |name: &str| name.contains("tables") && name.contains(part);
    let files = std::fs::read_dir(dir).unwrap_or_else(|e| panic!("{dir}: {e}")).flatten();
    let names: Vec<String> =
        files.filter_map(|file| file.file_name().into_string().ok()).filter(|name| named(name)).collect();
    if names.is_empty() {
        return;
    }
    // The names cannot be removed from the machine's own directory: a directory of links takes its place.
    let others = node.dir().join(format!("others{}", dir.replace('/', "-")));
    let script = r#"
        set -eu
        mkdir -p "$2" "$4"
        mount --bind "$1" "$4"
        for file in "$4"/*; do
            case ${file##*/} in *tables*"$3"*) ;; *) ln -s "$file" "$2/" ;; esac
        done
        mount --bind "$2" "$1""#;
    let copy = node.dir().join(format!("machine{}", dir.replace('/', "-")));
    node.sh(&["sh", "-c", script, "sh", dir, &others.to_string_lossy(), part, &copy.to_string_lossy()]);
}
