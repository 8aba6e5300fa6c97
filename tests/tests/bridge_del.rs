//! DEL, GC and STATUS of the bridge plugin: whatever is missing or wrong by then, nothing of the pod is left.

use podlink_tests::compare::Labels;
use podlink_tests::{Attached, BinDir, Call, Node, Pod, conf};
use serde_json::{Value, json};

fn config() -> Value {
    conf::gateway(&["10.1.0.0/24", "fd00:1::/64"], json!({}))
}

/// Panics unless only the bridge is left, which the network's other pods use.
#[track_caller]
fn assert_clean(node: &Node, what: &str) {
    assert_eq!(node.link_names(), ["cni0"], "{what}");
    assert_eq!(node.reserved("net"), Vec::<String>::new(), "{what}");
}

#[test]
fn whatever_is_missing_nothing_is_left() {
    type Change = for<'a> fn(&Attached, Call<'a>) -> Call<'a>;
    let cases: [(&str, Change); 9] = [
        ("everything there", |_, call| call),
        ("no namespace variable", |_, call| call.without("CNI_NETNS")),
        ("a namespace that is gone", |_, call| call.env("CNI_NETNS", "/run/netns/gone")),
        ("a plain file for a namespace", |at, call| {
            let file = at.dir().join("plain");
            podlink_tests::files::write(&file, "");
            call.env("CNI_NETNS", file)
        }),
        ("an empty prevResult", |_, call| call.prev_result(&json!({}))),
        ("no prevResult", |at, call| call.config(&at.config)),
        ("a null prevResult", |_, call| call.prev_result(&Value::Null)),
        ("a garbage prevResult", |_, call| {
            call.prev_result(&json!({ "interfaces": "none", "ips": [{ "address": 7 }] }))
        }),
        ("a config that is invalid by now", |at, call| {
            let keys = json!({ "mtu": "large", "vlan": 9999, "hairpinMode": true, "promiscMode": true, "ipMasq": true,
                               "isGateway": "yes", "bridge": "a/b" });
            let mut config = conf::with(at.config.clone(), keys);
            config["ipam"]["ranges"] = json!([[{ "subnet": "nonsense" }]]);
            call.config(&config).args("NONSENSE")
        }),
    ];
    for (what, change) in cases {
        let at = Attached::to(&config());
        change(&at, at.call()).del().success();
        assert_clean(&at, what);
        assert_eq!(at.pod.link_names(), Vec::<String>::new(), "{what}");
    }
}

#[test]
fn a_pod_that_is_gone_is_deleted() {
    let node = Node::new();
    let pod = node.pod("a");
    let result = node.typed(&config()).pod(&pod).add().success();
    let id = pod.destroy();
    node.typed(&config()).pod(&id).prev_result(&result).del().success();
    assert_clean(&node, "after DEL");
}

#[test]
fn twice_is_once_and_never_added_is_deleted() {
    let at = Attached::to(&config());
    at.call().del().success();
    at.call().del().success();
    assert_clean(&at, "twice");
    let node = Node::new();
    let pod = node.pod("never");
    node.typed(&config()).pod(&pod).del().success();
    assert_eq!(node.link_names(), Vec::<String>::new());
}

#[test]
fn twice_at_the_same_time() {
    let at = Attached::to(&config());
    let call = at.call();
    std::thread::scope(|scope| {
        let both = [(); 2].map(|()| scope.spawn(|| call.del()));
        for del in both {
            del.join().unwrap().success();
        }
    });
    assert_clean(&at, "concurrently");
}

#[test]
fn other_pods_are_not_touched() {
    let at = Attached::to(&config());
    let pod = at.pod("b");
    at.typed(&at.config).pod(&pod).add().success();
    let mut labels = Labels::default();
    let before = labels.kernel(&at.pod);
    at.typed(&at.config).pod(&pod).del().success();
    assert_eq!(labels.kernel(&at.pod), before);
    assert_eq!(at.reserved("net"), ["10.1.0.2", "fd00:1::2"]);
    at.call().check().success();
}

#[test]
fn a_path_that_leads_to_another_pod_by_now() {
    // As /proc/<pid>/ns/net does when the process ID is used again.
    let at = Attached::to(&config());
    let pod = at.pod("b");
    let other = at.typed(&at.config).pod(&pod).add().success();
    at.call().without("CNI_NETNS").del().success();
    at.call().env("CNI_NETNS", &pod.id().netns).del().success();
    // Without a record, the name on the node's end tells.
    at.typed(&at.config).pod(&at.pod).env("CNI_NETNS", &pod.id().netns).del().success();
    let mut named_the_same = at.result.clone();
    named_the_same["interfaces"][2]["sandbox"] = json!(pod.id().netns);
    at.call().prev_result(&named_the_same).env("CNI_NETNS", &pod.id().netns).del().success();
    at.typed(&at.config).pod(&pod).prev_result(&other).check().success();
}

#[test]
fn a_path_that_leads_to_a_pod_of_the_reference_by_now() {
    // Its interfaces have no owner's name: only the MAC tells.
    let node = Node::new();
    let (a, b) = (node.pod("a"), node.pod("b"));
    let result = node.typed(&old_config()).pod(&a).add().success();
    let other = node.plugin(&BinDir::reference(), "bridge").pod(&b).config(&old_config());
    let other = other.clone().prev_result(&other.add().success());
    let mut names_the_path = result.clone();
    names_the_path["interfaces"][2]["sandbox"] = json!(b.id().netns);
    node.typed(&old_config()).pod(&a).without("CNI_NETNS").del().success();
    for result in [result, names_the_path] {
        let call = node.typed(&old_config()).pod(&a).prev_result(&result);
        call.env("CNI_NETNS", &b.id().netns).del().success();
        other.check().success();
    }
}

/// A config that the reference 1.1.1 knows.
fn old_config() -> Value {
    conf::with(config(), json!({ "cniVersion": "1.0.0" }))
}

#[test]
fn pods_of_the_reference_are_deleted_and_ours_by_it() {
    type Change = for<'a> fn(Call<'a>) -> Call<'a>;
    let with_namespace: Change = |call| call;
    let without: Change = |call| call.without("CNI_NETNS");
    for (added_by, deleted_by, change, what) in [
        (BinDir::reference(), BinDir::ours(), with_namespace, "with its namespace"),
        (BinDir::reference(), BinDir::ours(), without, "by its prevResult"),
        (BinDir::ours(), BinDir::reference(), with_namespace, "by the reference"),
    ] {
        let node = Node::new();
        let pod = node.pod("a");
        let call = |bins| node.plugin(bins, "bridge").pod(&pod).config(&old_config());
        let result = call(&added_by).add().success();
        change(call(&deleted_by).prev_result(&result)).del().success();
        assert_clean(&node, what);
    }
}

#[test]
fn a_pod_of_the_reference_is_checked_and_gets_a_neighbour_of_ours() {
    let node = Node::new();
    let (a, b) = (node.pod("a"), node.pod("b"));
    let reference = node.plugin(&BinDir::reference(), "bridge").pod(&a).config(&old_config());
    let result = reference.add().success();
    node.typed(&old_config()).pod(&b).add().success();
    assert_eq!(b.addresses("eth0"), ["10.1.0.3/24", "fd00:1::3/64"]);
    b.ping([10, 1, 0, 2].into());
    reference.prev_result(&result).check().success();
}

fn gc(node: &Node, valid: &[&Pod]) {
    let valid: Vec<_> =
        valid.iter().map(|pod| json!({ "containerID": pod.id().container_id, "ifname": "eth0" })).collect();
    let config = conf::with(config(), json!({ "cni.dev/valid-attachments": valid }));
    node.typed(&config).run("GC").success();
}

#[test]
fn gc_keeps_what_is_valid_and_removes_the_rest() {
    let at = Attached::to(&config());
    let pods = ["b", "c"].map(|name| at.pod(name));
    for pod in &pods {
        at.typed(&config()).pod(pod).add().success();
    }
    let second = conf::gateway(&["10.2.0.0/24"], json!({ "name": "second", "bridge": "cni1" }));
    at.typed(&second).pod(&at.pod).ifname("net1").add().success();
    gc(&at, &[&pods[1]]);
    assert_eq!(at.reserved("net"), ["10.1.0.4", "fd00:1::4"]);
    assert_eq!((at.pod.link_names(), pods[0].link_names().len()), (vec!["net1".to_owned()], 0));
    assert_eq!(pods[1].addresses("eth0"), ["10.1.0.4/24", "fd00:1::4/64"]);
    assert_eq!(at.reserved("second"), ["10.2.0.2"], "another network's are not its business");
    gc(&at, &[]);
    assert_eq!(at.reserved("net"), Vec::<String>::new());
}

#[test]
fn gc_without_a_list_removes_nothing() {
    let at = Attached::to(&config());
    let error = at.typed(&config()).run("GC").failure();
    assert!(error.text.contains("cni.dev/valid-attachments"), "{}", error.text);
    at.call().check().success();
}

#[test]
fn status_says_whether_an_add_would_succeed() {
    let node = Node::new();
    node.typed(&config()).run("STATUS").success();
    node.sh(&["ip", "link", "add", "dummy-a", "type", "veth", "peer", "name", "dummy-b"]);
    let taken = conf::gateway(&["10.1.0.0/24"], json!({ "bridge": "dummy-a" }));
    let wrong = conf::gateway(&["10.1.0.0/24"], json!({ "mtu": 7 }));
    let missing = conf::bridge(json!({ "ipam": { "type": "no-such-ipam" } }));
    let tiny = conf::gateway(&["10.1.0.0/30"], json!({}));
    let pod = node.pod("a");
    node.typed(&tiny).pod(&pod).add().success();
    for (config, code, word) in
        [(taken, 50, "dummy-a"), (wrong, 7, "mtu"), (missing, 50, "no-such-ipam"), (tiny, 50, "10.1.0")]
    {
        let error = node.typed(&config).run("STATUS").failure();
        assert!(error.code == code && error.text.contains(word), "{word}: {error:?}");
    }
}

#[test]
fn status_tells_when_the_pods_that_are_there_are_cut_off() {
    let at = Attached::to(&config());
    at.typed(&config()).run("STATUS").success();
    for (command, word) in
        [(&["ip", "link", "set", "cni0", "down"][..], "switched off"), (&["ip", "link", "del", "cni0"], "gone")]
    {
        at.sh(command);
        let error = at.typed(&config()).run("STATUS").failure();
        assert!(error.code == 51 && error.text.contains(word) && error.text.contains("cni0"), "{error:?}");
    }
    at.call().del().success();
    at.typed(&config()).run("STATUS").success();
}

#[test]
fn verbs_need_their_version() {
    let at = Attached::to(&conf::with(config(), json!({ "cniVersion": "0.3.1" })));
    for verb in ["CHECK", "GC", "STATUS"] {
        let error = at.call().run(verb).failure();
        assert!(error.code == 1 && error.text.contains(verb), "{verb}: {error:?}");
    }
    at.call().del().success();
    assert_clean(&at, "0.3.1");
}

#[test]
fn a_missing_ipam_plugin_is_an_error_and_nothing_is_forgotten() {
    let at = Attached::to(&config());
    let error = at.call().env("CNI_PATH", at.dir()).del().failure();
    assert!(error.text.contains("host-local") && error.text.contains("pod-a"), "{}", error.text);
    assert_eq!(at.reserved("net"), ["10.1.0.2", "fd00:1::2"], "the address is still known to be taken");
    at.call().del().success();
    assert_clean(&at, "once the plugin is back");
}
