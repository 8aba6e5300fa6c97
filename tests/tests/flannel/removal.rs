//! DEL, GC and CHECK after a restart: another lease, or none; a kept config that is gone, empty or another network's.

use podlink_tests::files::{make_dir, write};
use podlink_tests::{Attached, BinDir, Node, conf};
use serde_json::{Value, json};

use crate::{SUBNET_ENV, flannel, kept, lease, node_with};

fn config() -> Value {
    flannel(json!({ "ipMasq": true }))
}

#[track_caller]
fn assert_clean(node: &Node, what: &str) {
    let pods_links: Vec<String> = node.link_names().into_iter().filter(|name| name != "cni0").collect();
    assert_eq!((pods_links, kept(node), node.reserved("net")), (vec![], vec![], vec![]), "{what}");
    assert_eq!(node.rules_of_pods(&["pod-a"]), [""; 0], "{what}");
    let aside = std::fs::read_dir(node.outside("/var/lib/cni/flannel")).map(Iterator::count).unwrap_or_default();
    assert_eq!(aside, 0, "{what}: something is left in dataDir");
}

type Change = fn(&Attached);

const CHANGES: [(&str, Change); 4] = [
    ("nothing", |_| ()),
    ("another lease", |at| lease(at, &SUBNET_ENV.replace("10.244.1.1", "10.244.9.1").replace("1450", "1400"))),
    ("no lease", |at| std::fs::remove_file(at.outside("/run/flannel/subnet.env")).unwrap()),
    ("a broken lease", |at| lease(at, "FLANNEL_MTU=")),
];

#[test]
fn check_and_del_mean_what_add_made() {
    for (what, change) in CHANGES {
        let at = Attached::on(node_with(SUBNET_ENV), &config());
        change(&at);
        at.call().check().success();
        at.pod.sh(&["ip", "route", "del", "10.244.0.0/16"]);
        let error = at.call().check().failure();
        assert!(error.text.contains("10.244.0.0/16"), "{what}: {error:?}");
        at.call().del().success();
        assert_clean(&at, what);
    }
}

#[test]
fn del_needs_no_kept_config() {
    for (what, change) in CHANGES {
        for (content, with_namespace) in [(None, true), (None, false), (Some(""), false), (Some("{"), true)] {
            let at = Attached::on(node_with(SUBNET_ENV), &config());
            change(&at);
            let file = at.outside("/var/lib/cni/flannel/pod-a");
            match content {
                None => std::fs::remove_file(file).unwrap(),
                Some(content) => write(&file, content),
            }
            let call = at.typed(&at.config).pod(&at.pod);
            let call = if with_namespace { call } else { call.without("CNI_NETNS") };
            call.del().success();
            call.del().success();
            assert_clean(&at, what);
        }
    }
    for keep in [true, false] {
        let at = Attached::on(node_with(SUBNET_ENV), &config());
        if !keep {
            std::fs::remove_file(at.outside("/var/lib/cni/flannel/pod-a")).unwrap();
        }
        let invalid = json!({ "delegate": 5, "ipam": "none", "subnetFile": [], "runtimeConfig": 7 });
        at.typed(&conf::with(config(), invalid)).pod(&at.pod).del().success();
        assert_clean(&at, "a config that is invalid by now");
    }
    let node = Node::new();
    let pod = node.pod("never");
    node.typed(&config()).pod(&pod).del().success();
    assert_clean(&node, "never added");
}

#[test]
fn a_config_that_the_reference_kept_is_used() {
    // Its pods keep running over an upgrade: the bridge has another name in the config by now.
    let node = node_with(SUBNET_ENV);
    let pod = node.pod("a");
    let delegated = json!({
        "cniVersion": "0.3.1", "name": "net", "type": "bridge", "bridge": "old0", "isGateway": true, "mtu": 1450, "ipMasq": false,
        "ipam": { "type": "host-local", "ranges": [[{ "subnet": "10.244.1.0/24" }]], "routes": [{ "dst": "10.244.0.0/16" }] },
    });
    let result = node.plugin(&BinDir::reference(), "bridge").pod(&pod).config(&delegated).add().success();
    let file = node.outside("/var/lib/cni/flannel/pod-a");
    make_dir(file.parent().unwrap());
    write(&file, &delegated.to_string());
    let config = flannel(json!({ "cniVersion": "0.3.1", "delegate": { "bridge": "new0" } }));
    node.typed(&config).pod(&pod).del().success();
    assert_eq!((node.link_names(), pod.link_names()), (vec!["old0".to_owned()], vec![]), "{result}");
    assert_clean_of_kept(&node);
}

#[track_caller]
fn assert_clean_of_kept(node: &Node) {
    assert_eq!((kept(node), node.reserved("net")), (vec![], vec![]));
}

#[test]
fn another_networks_config_stays() {
    let at = Attached::on(node_with(SUBNET_ENV), &config());
    let second = conf::with(config(), json!({ "name": "second" }));
    at.typed(&second).pod(&at.pod).ifname("eth1").add().success();
    at.call().del().success();
    assert_eq!((kept(&at), at.reserved("net")), (vec!["pod-a".to_owned()], vec![]));
    at.typed(&second).pod(&at.pod).ifname("eth1").del().success();
    assert_eq!((kept(&at), at.reserved("second"), at.pod.link_names()), (vec![], vec![], vec![]));
}

#[test]
fn gc_removes_what_is_not_valid_also_of_another_plugin() {
    let at = Attached::on(node_with(SUBNET_ENV), &config());
    let (b, c) = (at.pod("b"), at.pod("c"));
    at.typed(&config()).pod(&b).add().success();
    let by_ptp = flannel(json!({ "delegate": { "type": "ptp" } }));
    at.typed(&by_ptp).pod(&c).add().success();
    let gc = |valid: Value| at.typed(&conf::with(config(), json!({ "cni.dev/valid-attachments": valid }))).run("GC");
    let all = ["pod-a", "pod-b", "pod-c"].map(|id| json!({ "containerID": id, "ifname": "eth0" }));
    gc(json!(all)).success();
    assert_eq!((kept(&at).len(), at.reserved("net").len()), (3, 3));
    std::fs::remove_file(at.outside("/run/flannel/subnet.env")).unwrap();
    gc(json!([all[1]])).success();
    assert_eq!((kept(&at), at.reserved("net")), (vec!["pod-b".to_owned()], vec!["10.244.1.3".to_owned()]));
    assert_eq!((at.pod.link_names(), c.link_names()), (vec![], vec![]));
    b.ping("10.244.1.1".parse().unwrap());
    gc(json!([])).success();
    assert_clean(&at, "GC of everything");
}

#[test]
fn killed_at_any_point_add_and_del_are_completed_by_del() {
    for verb in ["ADD", "DEL"] {
        let node = node_with(SUBNET_ENV);
        let pod = node.pod("a");
        let call = node.typed(&config()).pod(&pod);
        call.completed_by_del_wherever_killed(verb, |what| assert_clean(&node, what));
    }
}
