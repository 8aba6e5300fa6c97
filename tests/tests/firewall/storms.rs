//! Many calls at once, and calls that are killed half way.

use std::process::Command;

use podlink_tests::{Call, Node, Output, Pod, need};
use serde_json::{Value, json};

use crate::{Make, Net, all_elements, elements};

/// Runs all calls at the same time.
fn at_once(calls: &[(&str, &Call<'_>)]) -> Vec<Output> {
    std::thread::scope(|scope| {
        let running: Vec<_> = calls.iter().map(|(verb, call)| scope.spawn(|| call.run(verb))).collect();
        running.into_iter().map(|call| call.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    })
}

#[test]
fn twenty_at_once_leave_nothing_and_double_nothing() {
    for (backend, make) in [("nftables", Make::Nft), ("iptables", Make::Nft), ("iptables", Make::Legacy)] {
        let node = Node::new();
        let net = Net::new(json!({ "backend": backend, "ingressPolicy": "same-bridge" }));
        let pods: Vec<Pod> = (0..20).map(|i| node.pod(&format!("p{i}"))).collect();
        let results: Vec<Value> = pods.iter().map(|pod| net.wire(&node, pod)).collect();
        let calls = pods.iter().zip(&results).map(|(pod, result)| make.of(&node, net.call(&node, pod, result)));
        let calls: Vec<Call<'_>> = calls.collect();
        let all = |verb| calls.iter().map(|call| (verb, call)).collect::<Vec<_>>();
        at_once(&all("ADD")).iter().for_each(|output| drop(output.success()));
        at_once(&all("CHECK")).iter().for_each(|output| drop(output.success()));
        assert_eq!((elements(&node, "inet", "pods4").len(), elements(&node, "inet", "fenced").len()), (20, 1));
        if backend == "iptables" {
            for family in ["iptables", "ip6tables"] {
                assert_eq!(
                    make.rules(&node, family, "CNI-FORWARD").len(),
                    41,
                    "two for each pod, one for the administrator"
                );
                assert_eq!(make.rules(&node, family, "FORWARD").len(), 2);
                assert_eq!(make.rules(&node, family, "CNI-ISOLATION-STAGE-1").len(), 2);
            }
        }
        // Half go while they are added again, then all go, each twice.
        let mixed: Vec<_> = calls.iter().enumerate().map(|(i, call)| (["ADD", "DEL"][i % 2], call)).collect();
        at_once(&mixed).iter().for_each(|output| drop(output.success()));
        assert_eq!((elements(&node, "inet", "pods4").len(), elements(&node, "inet", "fenced").len()), (10, 1));
        at_once(&[all("DEL"), all("DEL")].concat()).iter().for_each(|output| drop(output.success()));
        assert_eq!(all_elements(&node), [json!(null); 0], "{backend} {make:?}");
        if backend == "iptables" {
            for family in ["iptables", "ip6tables"] {
                assert_eq!(make.rules(&node, family, "CNI-FORWARD").len(), 1, "{make:?} {family}");
            }
        }
    }
}

#[test]
fn a_killed_add_or_del_is_cleaned_by_the_next_del() {
    let mut hit = 0;
    for (verb, nth) in ["ADD", "DEL"].into_iter().flat_map(|verb| (1..=12).map(move |nth| (verb, nth))) {
        let node = Node::new();
        let member = Net::new(json!({ "backend": "iptables", "ingressPolicy": "isolated" })).attach(&node, "a");
        if verb == "ADD" {
            member.call.del().success();
        }
        let plugin = member.call.command(verb);
        let mut strace = Command::new(need::tool("strace"));
        strace.args(["-f", "-qqq", "-o", "/dev/null", "-e", "trace=sendto,clone3,wait4,vfork"]);
        strace.args(["-e", &format!("inject=sendto,clone3,wait4,vfork:signal=SIGKILL:when={nth}")]);
        strace.arg(plugin.get_program()).env_clear();
        strace.envs(plugin.get_envs().filter_map(|(name, value)| Some((name, value?))));
        hit += u32::from(node.finish(&mut strace, member.call.input()).code != Some(0));
        // Without the result: the record alone must tell.
        let config = json!({ "cniVersion": "1.1.0", "name": "net-cni0", "type": "firewall" });
        node.typed(&config).pod(&member.pod).del().success();
        let saved = node.sh(&["iptables-save", "-t", "filter"]) + &node.sh(&["ip6tables-save", "-t", "filter"]);
        assert!(!saved.contains("10.1.0.") && !saved.contains("fd00:1::"), "{verb} killed at {nth}: {saved}");
        assert_eq!(all_elements(&node), [json!(null); 0], "{verb} killed at {nth}");
    }
    assert!(hit >= 16, "only {hit} of the points exist: choose others");
}
