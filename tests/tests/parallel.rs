//! Many calls at once, the same call at once, and calls that are killed half way.

use std::collections::BTreeSet;
use std::process::Command;

use podlink_tests::{Attached, Call, Node, Output, Pod, conf, need};
use serde_json::{Value, json};

fn config() -> Value {
    conf::gateway(&["10.1.0.0/24", "fd00:1::/64"], json!({ "isDefaultGateway": true }))
}

/// Runs all calls at the same time.
fn at_once(calls: &[(&str, Call<'_>)]) -> Vec<Output> {
    std::thread::scope(|scope| {
        let running: Vec<_> = calls.iter().map(|(verb, call)| scope.spawn(|| call.run(verb))).collect();
        running.into_iter().map(|call| call.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    })
}

#[test]
fn thirty_pods_at_once_on_a_fresh_node() {
    let node = Node::new();
    let pods: Vec<Pod> = (0..30).map(|i| node.pod(&format!("p{i}"))).collect();
    let call = |verb, pod: &Pod| (verb, node.typed(&config()).pod(pod));
    let (first, second) = pods.split_at(15);

    let added = at_once(&pods.iter().map(|pod| call("ADD", pod)).collect::<Vec<_>>());
    let results: Vec<Value> = added.iter().map(Output::success).collect();
    let address = |result: &Value| result["ips"][0]["address"].as_str().unwrap_or_default().to_owned();
    assert_eq!(results.iter().map(address).collect::<BTreeSet<_>>().len(), 30);
    let bridge: BTreeSet<String> = results.iter().map(|result| result["interfaces"][0].to_string()).collect();
    assert_eq!(bridge.len(), 1, "every pod was told of the same bridge: {bridge:?}");
    assert_eq!((node.link_names().len(), node.reserved("net").len()), (31, 60));
    assert_eq!(node.addresses("cni0"), ["10.1.0.1/24", "fd00:1::1/64"]);
    for (pod, result) in pods.iter().zip(&results) {
        assert_eq!(pod.addresses("eth0")[0], address(result));
    }
    let checks = pods.iter().zip(&results).map(|(pod, result)| ("CHECK", call("", pod).1.prev_result(result)));
    at_once(&checks.collect::<Vec<_>>()).iter().for_each(|check| drop(check.success()));

    // Half of them go while others come.
    let third: Vec<Pod> = (30..45).map(|i| node.pod(&format!("p{i}"))).collect();
    let mixed = first.iter().map(|pod| call("DEL", pod)).chain(third.iter().map(|pod| call("ADD", pod)));
    at_once(&mixed.collect::<Vec<_>>()).iter().for_each(|call| drop(call.success()));
    assert_eq!((node.link_names().len(), node.reserved("net").len()), (31, 60));
    third[0].ping(second[0].addresses("eth0")[0].trim_end_matches("/24").parse().unwrap());

    let rest = second.iter().chain(&third).map(|pod| call("DEL", pod));
    at_once(&rest.collect::<Vec<_>>()).iter().for_each(|call| drop(call.success()));
    assert_eq!((node.link_names(), node.reserved("net")), (vec!["cni0".to_owned()], vec![]));
}

#[test]
fn of_two_adds_of_one_attachment_one_wins_undisturbed() {
    let node = Node::new();
    let pod = node.pod("a");
    let call = node.typed(&config()).pod(&pod);
    for _ in 0..8 {
        let both = at_once(&[("ADD", call.clone()), ("ADD", call.clone())]);
        let (won, lost): (Vec<_>, Vec<_>) = both.iter().partition(|output| output.code() == Some(0));
        assert_eq!((won.len(), lost.len()), (1, 1), "{both:?}");
        assert!(lost[0].failure().text.contains("pod-a"), "{}", lost[0].failure().text);
        let call = call.clone().prev_result(&won[0].success());
        call.check().success();
        assert_eq!(node.reserved("net").len(), 2, "the loser reserves nothing");
        call.del().success();
        assert_eq!((node.link_names(), node.reserved("net")), (vec!["cni0".to_owned()], vec![]));
    }
}

#[test]
fn a_del_that_races_with_adds_of_other_pods_frees_only_its_own() {
    let at = Attached::to(&config());
    let pods: Vec<Pod> = (0..8).map(|i| at.pod(&format!("p{i}"))).collect();
    let adds = pods.iter().map(|pod| ("ADD", at.typed(&config()).pod(pod)));
    let calls: Vec<_> = adds.chain([("DEL", at.call()), ("DEL", at.call())]).collect();
    at_once(&calls).iter().for_each(|call| drop(call.success()));
    assert_eq!((at.link_names().len(), at.reserved("net").len()), (9, 16));
}

/// Runs the call under strace, which kills the plugin (or the IPAM plugin, whichever gets there first) at the entry of its
/// `nth` call of `syscall`. Whether it got that far.
fn killed(node: &Node, call: &Call<'_>, verb: &str, syscall: &str, nth: u32) -> bool {
    let plugin = call.command(verb);
    let mut strace = Command::new(need::tool("strace"));
    strace.args(["-f", "-qqq", "-o", "/dev/null", "-e", &format!("trace={syscall}")]);
    strace.args(["-e", &format!("inject={syscall}:signal=SIGKILL:when={nth}")]).arg(plugin.get_program()).env_clear();
    strace.envs(plugin.get_envs().filter_map(|(name, value)| Some((name, value?))));
    // strace ends itself by the signal that ended the plugin.
    node.finish(&mut strace, call.input()).code != Some(0)
}

#[track_caller]
fn assert_nothing_left(node: &Node, pod: &Pod, what: &str) {
    let ports: Vec<_> = node.link_names().into_iter().filter(|name| name != "cni0").collect();
    assert_eq!((ports, pod.link_names(), node.reserved("net")), (vec![], vec![], vec![]), "{what}");
}

#[test]
fn an_add_killed_anywhere_is_cleaned_by_del_and_can_be_repeated() {
    // From the first look at the node to the printing of the result; clone3 starts threads and the IPAM plugin.
    let points = [
        ("sendto", &[1, 3, 5, 7, 8, 9, 10, 11, 12, 14, 16][..]),
        ("openat", &[4, 8, 12]),
        ("renameat2", &[1, 2]),
        ("clone3", &[1, 2]),
        ("wait4", &[1]),
        ("write", &[5, 20]),
        ("flock", &[1]),
    ];
    let all = points.iter().flat_map(|(syscall, points)| points.iter().map(move |nth| (*syscall, *nth)));
    // A bridge that is there is used while the IPAM plugin runs, a new one is made afterwards.
    for (syscall, nth) in all {
        let mut hit = false;
        for bridge_is_there in [false, true] {
            let what = format!("ADD killed at {syscall} {nth}, bridge there: {bridge_is_there}");
            let node = Node::new();
            let pod = node.pod("a");
            let call = node.typed(&config()).pod(&pod);
            if bridge_is_there {
                call.add().success();
                call.del().success();
            }
            hit |= killed(&node, &call, "ADD", syscall, nth);
            call.del().success();
            assert_nothing_left(&node, &pod, &what);
            let call = call.clone().prev_result(&call.add().success());
            call.check().success();
            call.del().success();
            assert_nothing_left(&node, &pod, &what);
        }
        assert!(hit, "{syscall} {nth} is never reached: choose other points");
    }
}

#[test]
fn a_del_killed_anywhere_is_completed_by_the_next() {
    let mut hit = 0;
    for (syscall, nth) in [("sendto", 1), ("sendto", 2), ("clone3", 1), ("unlink", 1), ("unlink", 2), ("wait4", 1)] {
        let at = Attached::to(&config());
        hit += u32::from(killed(&at, &at.call(), "DEL", syscall, nth));
        at.call().del().success();
        assert_nothing_left(&at, &at.pod, &format!("DEL killed at {syscall} {nth}"));
    }
    assert!(hit >= 4, "only {hit} of the points exist in a DEL: choose others");
}
