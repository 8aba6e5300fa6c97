//! DEL and GC: whatever is missing, wrong or half done by then, nothing of the pod is left.

use nix::errno::Errno;
use podlink_tests::tracer::{Calls, Fault};
use podlink_tests::{Attached, BinDir, Call, Node, conf};
use serde_json::{Value, json};

use crate::ptp;

fn config() -> Value {
    ptp(json!({ "ipMasq": true }))
}

#[track_caller]
fn assert_clean(node: &Node, what: &str) {
    assert_eq!(node.link_names(), [""; 0], "{what}");
    assert_eq!(node.reserved("net"), [""; 0], "{what}");
    assert_eq!(node.rules_of_pods(&["pod-"]), [""; 0], "{what}");
}

#[test]
fn whatever_is_missing_nothing_is_left() {
    type Change = for<'a> fn(&Attached, Call<'a>) -> Call<'a>;
    let cases: [(&str, Change); 6] = [
        ("everything there", |_, call| call),
        ("no namespace variable", |_, call| call.without("CNI_NETNS")),
        ("a namespace that is gone", |_, call| call.env("CNI_NETNS", "/run/netns/gone")),
        ("no prevResult", |at, call| call.config(&at.config)),
        ("neither", |at, call| call.config(&at.config).without("CNI_NETNS")),
        ("a config that is invalid by now", |at, call| {
            let mut config = conf::with(at.config.clone(), json!({ "mtu": "large", "ipMasq": 5 }));
            config["ipam"]["ranges"] = json!("nonsense");
            call.config(&config).args("NONSENSE")
        }),
    ];
    for (what, change) in cases {
        let at = Attached::to(&config());
        change(&at, at.call()).del().success();
        change(&at, at.call()).del().success();
        assert_clean(&at, what);
    }
    let at = Attached::to(&config());
    let Attached { pod, config, result, .. } = &at;
    let id = pod.id().clone();
    at.sh(&["umount", "/run/netns/a"]);
    at.typed(config).pod(&id).prev_result(result).del().success();
    assert_clean(&at, "the namespace has lost its path");
}

#[test]
fn pods_of_the_reference_are_deleted_and_ours_by_it() {
    let old = ptp(json!({ "cniVersion": "1.0.0", "ipMasq": true }));
    for (added_by, deleted_by, with_namespace, with_result) in [
        (BinDir::reference(), BinDir::ours(), true, true),
        (BinDir::reference(), BinDir::ours(), true, false),
        (BinDir::reference(), BinDir::ours(), false, true),
        (BinDir::ours(), BinDir::reference(), true, true),
    ] {
        let what = format!("{added_by:?}, deleted by {deleted_by:?}, {with_namespace}, {with_result}");
        let node = Node::new();
        let pod = node.pod("a");
        let keys = if added_by == BinDir::ours() { json!({ "ipMasqBackend": "iptables" }) } else { json!({}) };
        let config = conf::with(old.clone(), keys);
        let result = node.plugin(&added_by, "ptp").pod(&pod).config(&config).add().success();
        let mut call = node.plugin(&deleted_by, "ptp").pod(&pod).config(&config);
        if with_result {
            call = call.prev_result(&result);
        }
        let call = if with_namespace { call } else { call.without("CNI_NETNS") };
        call.del().success();
        assert_clean(&node, &what);
    }
}

#[test]
fn an_interface_of_somebody_else_stays() {
    let node = Node::new();
    let pod = node.pod("a");
    node.sh(&["ip", "link", "add", "other", "type", "veth", "peer", "name", "eth0", "netns", "a"]);
    let error = node.typed(&config()).pod(&pod).add().failure();
    assert!(error.text.contains("already exists"), "{error:?}");
    node.typed(&config()).pod(&pod).del().success();
    assert_eq!((node.link_names(), pod.link_names()), (vec!["other".to_owned()], vec!["eth0".to_owned()]));
    assert_eq!(node.reserved("net"), [""; 0]);
}

#[test]
fn gc_removes_what_is_not_valid() {
    let at = Attached::to(&config());
    let b = at.pod("b");
    at.typed(&config()).pod(&b).add().success();
    let keep_b = json!({ "cni.dev/valid-attachments": [{ "containerID": "pod-b", "ifname": "eth0" }] });
    at.typed(&conf::with(config(), keep_b)).run("GC").success();
    assert_eq!((at.reserved("net"), at.link_names().len()), (vec!["10.31.0.3".to_owned(), "fd31::3".to_owned()], 1));
    assert_eq!(at.rules_of_pods(&["pod-a"]).iter().filter(|line| line.contains("pod-a")).count(), 0);
    assert_ne!(at.rules_of_pods(&["pod-b"]), [""; 0]);
    at.typed(&conf::with(config(), json!({ "cni.dev/valid-attachments": [] }))).run("GC").success();
    assert_clean(&at, "GC of everything");
}

#[test]
fn killed_at_any_point_add_and_del_are_completed_by_del() {
    for verb in ["ADD", "DEL"] {
        let node = Node::new();
        let pod = node.pod("a");
        let call = node.typed(&config()).pod(&pod);
        call.completed_by_del_wherever_killed(verb, |what| assert_clean(&node, what));
    }
}

#[test]
fn whichever_call_fails_add_leaves_nothing_or_del_completes_it() {
    let node = Node::new();
    let pod = node.pod("a");
    let call = node.typed(&config()).pod(&pod);
    for nth in 1.. {
        let disturbed = call.disturbed("ADD", Calls::Effects, nth, Fault::Fail(Errno::EIO));
        let Some(hit) = disturbed.hit else { break };
        // An error that tells something, where there was one; some calls it can do without.
        if disturbed.finished.code != Some(0) {
            let error = disturbed.finished.stdout.clone() + &disturbed.finished.stderr;
            assert!(error.len() > 20, "{hit} fails: {}", disturbed.finished);
        }
        call.del().success();
        assert_clean(&node, &format!("{hit} (call {nth}) fails"));
    }
}

#[test]
fn many_at_once() {
    let node = Node::new();
    let pods: Vec<_> = (0..20).map(|i| node.pod(&i.to_string())).collect();
    let at_once = |verb: &str| {
        std::thread::scope(|scope| {
            let calls: Vec<_> =
                pods.iter().map(|pod| scope.spawn(|| node.typed(&config()).pod(pod).run(verb).success())).collect();
            calls.into_iter().for_each(|call| _ = call.join().unwrap());
        });
    };
    at_once("ADD");
    assert_eq!((node.link_names().len(), node.reserved("net").len()), (20, 40));
    let other = pods[1].addresses("eth0")[0].split('/').next().unwrap().parse().unwrap();
    pods[0].ping(other);
    at_once("DEL");
    assert_clean(&node, "all deleted");
}
