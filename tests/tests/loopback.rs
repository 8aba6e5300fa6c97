//! The loopback plugin: `lo` up in the pod, and in the result.

use podlink_tests::{Attached, BinDir, Node, files};
use serde_json::{Value, json};

fn config(version: &str) -> Value {
    json!({ "cniVersion": version, "name": "lo", "type": "loopback" })
}

fn is_up(pod: &podlink_tests::Namespace) -> bool {
    let lo = pod.link("lo").unwrap_or_default();
    lo["flags"].as_array().is_some_and(|flags| flags.iter().any(|flag| flag == "UP"))
}

#[test]
fn add_check_del() {
    let at = Attached::to(&config("1.1.0"));
    assert!(is_up(&at.pod));
    at.pod.ping("127.0.0.1".parse().unwrap());
    at.pod.ping("::1".parse().unwrap());
    at.call().check().success();
    at.call().del().success();
    assert!(!is_up(&at.pod));
    at.call().del().success();
}

#[test]
fn each_version_has_its_result() {
    for version in ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"] {
        let result = Attached::to(&config(version)).result;
        assert_eq!(result["cniVersion"], version);
        if version < "0.3.0" {
            assert_eq!((&result["ip4"]["ip"], &result["ip6"]["ip"]), (&json!("127.0.0.1/8"), &json!("::1/128")));
            continue;
        }
        let interface = json!([{ "name": "lo", "mac": "00:00:00:00:00:00", "sandbox": "/run/netns/a" }]);
        assert_eq!(result["interfaces"], interface, "{version}");
        let ips: Vec<_> =
            result["ips"].as_array().unwrap().iter().map(|ip| (&ip["address"], &ip["interface"])).collect();
        assert_eq!(ips, [(&json!("127.0.0.1/8"), &json!(0)), (&json!("::1/128"), &json!(0))], "{version}");
        assert_eq!(result["ips"][1].get("version").is_some(), version < "1.0.0", "{version}");
    }
}

#[test]
fn without_ipv6_there_is_only_ipv4() {
    let node = Node::new();
    let pod = node.pod("a");
    pod.sh(&["busybox", "sysctl", "-w", "net/ipv6/conf/all/disable_ipv6=1"]);
    pod.sh(&["busybox", "sysctl", "-w", "net/ipv6/conf/lo/disable_ipv6=1"]);
    let call = node.typed(&config("1.0.0")).pod(&pod);
    let result = call.add().success();
    assert_eq!(result["ips"].as_array().map(Vec::len), Some(1), "{result}");
    call.prev_result(&result).check().success();
}

#[test]
fn the_result_of_a_plugin_before_is_passed_on() {
    let node = Node::new();
    let pod = node.pod("a");
    let before = json!({
        "cniVersion": "1.0.0",
        "interfaces": [{ "name": "eth0", "mac": "02:00:00:00:00:01", "sandbox": "/run/netns/a" }],
        "ips": [{ "address": "10.1.0.2/24", "gateway": "10.1.0.1", "interface": 0 }],
        "routes": [{ "dst": "0.0.0.0/0" }],
        "dns": { "nameservers": ["10.0.0.10"] },
    });
    let result = node.typed(&config("1.0.0")).pod(&pod).prev_result(&before).add().success();
    assert_eq!(result, before);
    assert!(is_up(&pod));
}

#[test]
fn any_interface_name_means_lo() {
    let node = Node::new();
    let pod = node.pod("a");
    let result = node.typed(&config("0.3.1")).pod(&pod).ifname("cni-loopback").add().success();
    assert_eq!(result["interfaces"][0]["name"], "lo");
}

#[test]
fn a_gone_namespace_is_deleted_and_not_added() {
    let node = Node::new();
    let pod = node.pod("a").destroy();
    let call = node.typed(&config("1.0.0")).pod(&pod);
    call.del().success();
    call.clone().without("CNI_NETNS").del().success();
    let file = node.dir().join("plain");
    files::write(&file, "");
    call.clone().env("CNI_NETNS", &file).del().success();
    for (netns, call) in
        [("/run/netns/a".to_owned(), call.clone()), (file.display().to_string(), call.env("CNI_NETNS", &file))]
    {
        let error = call.add().failure();
        assert!(error.code == 8 && error.text.contains(&netns), "{error:?}");
    }
}

#[test]
fn a_lo_that_was_switched_off_is_a_drift() {
    let at = Attached::to(&config("1.0.0"));
    at.pod.sh(&["ip", "link", "set", "lo", "down"]);
    let error = at.call().check().failure();
    assert!(error.text.contains("lo") && error.text.contains("expected up, found down"), "{}", error.text);
}

#[test]
fn the_nodes_own_lo_is_left_alone() {
    let at = Attached::to(&config("1.0.0"));
    let node: &Node = &at;
    let own = || at.call().env("CNI_NETNS", "/proc/self/ns/net");
    assert_eq!((own().add().failure().code, own().del().failure().code), (8, 8));
    assert!(is_up(node));
}

#[test]
fn gc_and_status_have_nothing_to_do() {
    let node = Node::new();
    let mut config = config("1.1.0");
    node.typed(&config).run("STATUS").success();
    config["cni.dev/valid-attachments"] = json!([]);
    node.typed(&config).run("GC").success();
    let about = node.plugin(&BinDir::ours(), "loopback").run("").stderr().to_owned();
    assert!(about.contains("loopback") && about.contains("1.1.0"), "{about}");
}
