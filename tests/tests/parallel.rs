//! Many calls at once, and the same call at once.

use std::collections::BTreeSet;

use podlink_tests::{Attached, Call, Node, Output, Pod, conf};
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
