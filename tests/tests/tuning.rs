//! The tuning plugin: what is set, what is found, and that it is all put back.

use podlink_tests::{Attached, BinDir, Call, Node, conf};
use serde_json::{Value, json};

const V4: &str = "10.1.0.0/24";
const MAC: &str = "02:11:22:33:44:55";
const DIR: &str = "/run/cni/tuning";

fn config(keys: Value) -> Value {
    conf::with(json!({ "cniVersion": "1.1.0", "name": "net", "type": "tuning" }), keys)
}

fn attached() -> Attached {
    Attached::to(&conf::gateway(&[V4], json!({})))
}

fn chained<'a>(at: &'a Attached, keys: Value) -> Call<'a> {
    at.typed(&config(keys)).pod(&at.pod).prev_result(&at.result)
}

/// Everything there is to tune.
fn all() -> Value {
    json!({
        "sysctl": { "net.ipv4.conf.IFNAME.arp_filter": "1", "net/core/somaxconn": "500" },
        "mac": MAC, "mtu": 1400, "promisc": true, "allmulti": true, "txQLen": 77,
    })
}

fn flag(link: &Value, flag: &str) -> bool {
    link["flags"].as_array().is_some_and(|flags| flags.iter().any(|f| f == flag))
}

fn backups(node: &Node) -> Vec<String> {
    podlink_tests::files::below(&node.outside(DIR)).into_keys().collect()
}

/// What tuning can change.
fn settings(at: &Attached) -> Value {
    let link = at.eth0();
    json!({
        "mac": link["address"], "mtu": link["mtu"], "txqlen": link["txqlen"],
        "promisc": flag(&link, "PROMISC"), "allmulti": flag(&link, "ALLMULTI"),
        "arp_filter": at.pod.sysctl("net/ipv4/conf/eth0/arp_filter"),
        "somaxconn": at.pod.sysctl("net/core/somaxconn"),
    })
}

fn tuned() -> Value {
    json!({
        "mac": MAC, "mtu": 1400, "txqlen": 77, "promisc": true, "allmulti": true, "arp_filter": "1", "somaxconn": "500",
    })
}

#[test]
fn everything_is_set_and_put_back() {
    let at = attached();
    let before = settings(&at);
    let node_before = at.sysctl("net/core/somaxconn");
    let call = chained(&at, all());
    let result = call.add().success();
    assert_eq!(settings(&at), tuned());
    assert_eq!(at.sysctl("net/core/somaxconn"), node_before, "the node's own sysctls are not touched");
    let eth0 = &result["interfaces"][2];
    assert_eq!((&eth0["name"], &eth0["mac"], &eth0["mtu"]), (&json!("eth0"), &json!(MAC), &json!(1400)));
    let mut expected = at.result.clone();
    expected["interfaces"][2] = eth0.clone();
    assert_eq!(result, expected, "nothing else in the result changes");
    assert_eq!(backups(&at), ["pod-a_eth0.json"]);

    let call = call.prev_result(&result);
    call.check().success();
    call.del().success();
    assert_eq!(settings(&at), before);
    assert!(backups(&at).is_empty());
    call.del().success();
    assert_eq!(settings(&at), before);
}

#[test]
fn nothing_asked_changes_nothing() {
    let at = attached();
    let before = settings(&at);
    let call = chained(&at, json!({}));
    assert_eq!(call.add().success(), at.result);
    call.check().success();
    call.del().success();
    assert_eq!((settings(&at), backups(&at)), (before, vec![]));
}

#[test]
fn the_mac_may_come_from_the_runtime() {
    let at = attached();
    chained(&at, json!({ "mac": "02:00:00:00:00:09", "runtimeConfig": { "mac": MAC } })).add().success();
    assert_eq!(at.eth0()["address"], MAC);
    let asked = chained(&at, json!({})).args("MAC=02:00:00:00:00:07;IgnoreUnknown=1;K8S_POD_NAME=x");
    asked.add().success();
    assert_eq!(at.eth0()["address"], "02:00:00:00:00:07");
}

#[test]
fn every_version_of_the_specification_works() {
    for version in ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"] {
        let at = Attached::to(&conf::gateway(&[V4], json!({ "cniVersion": version })));
        let before = settings(&at);
        let call = chained(&at, conf::with(all(), json!({ "cniVersion": version })));
        let result = call.add().success();
        assert_eq!((&result["cniVersion"], settings(&at)), (&json!(version), tuned()));
        if version >= "0.4.0" {
            call.clone().prev_result(&result).check().success();
        }
        call.del().success();
        assert_eq!(settings(&at), before);
    }
}

#[test]
fn check_finds_every_drift() {
    let at = attached();
    let call = chained(&at, all());
    let result = call.add().success();
    let call = call.prev_result(&result);
    for (word, change, back) in [
        ("MAC", "ip link set eth0 address 02:00:00:00:00:01", "ip link set eth0 address 02:11:22:33:44:55"),
        ("mtu 1400", "ip link set eth0 mtu 1300", "ip link set eth0 mtu 1400"),
        ("promiscuous", "ip link set eth0 promisc off", "ip link set eth0 promisc on"),
        ("allmulti", "ip link set eth0 allmulticast off", "ip link set eth0 allmulticast on"),
        ("txqueuelen", "ip link set eth0 txqueuelen 5", "ip link set eth0 txqueuelen 77"),
        (
            "net.ipv4.conf.IFNAME.arp_filter",
            "busybox sysctl -w net.ipv4.conf.eth0.arp_filter=0",
            "busybox sysctl -w net.ipv4.conf.eth0.arp_filter=1",
        ),
        ("net/core/somaxconn", "busybox sysctl -w net.core.somaxconn=1", "busybox sysctl -w net.core.somaxconn=500"),
    ] {
        let run = |line: &str| at.pod.sh(&line.split(' ').collect::<Vec<_>>());
        call.check().success();
        run(change);
        let error = call.check().failure();
        assert!(error.text.contains(word) && error.text.contains("has changed"), "{word}: {}", error.text);
        run(back);
    }
    at.pod.sh(&["ip", "link", "del", "eth0"]);
    assert!(call.check().failure().text.contains("has changed"));
    // As with the interface, all of the rest may be gone.
    call.del().success();
    assert!(backups(&at).is_empty());
}

#[test]
fn a_list_of_values_is_compared_as_the_kernel_means_it() {
    let at = attached();
    let call = chained(&at, json!({ "sysctl": { "net.ipv4.ip_local_port_range": "10000 20000" } }));
    call.add().success();
    assert_eq!(at.pod.sysctl("net/ipv4/ip_local_port_range"), "10000\t20000");
    call.check().success();
}

#[test]
fn the_nodes_list_decides_before_anything_is_changed() {
    let at = attached();
    at.sh(&["mount", "-t", "tmpfs", "none", "/etc"]);
    at.sh(&["mkdir", "-p", "/etc/cni/tuning"]);
    let allow = |list: &str| at.sh(&["sh", "-c", &format!("printf '{list}' >/etc/cni/tuning/allowlist.conf")]);
    let before = settings(&at);
    let call = chained(&at, all());
    for list in ["", "^net.ipv4.conf.IFNAME.[a-z_]*$\\n"] {
        allow(list);
        let error = call.add().failure();
        assert!(error.text.contains("is not allowed"), "{}", error.text);
        assert_eq!((settings(&at), backups(&at)), (before.clone(), vec![]));
        assert_eq!(at.typed(&config(all())).run("STATUS").failure().code, 50);
    }
    allow("[");
    assert!(call.add().failure().text.contains("line 1"));
    allow("^net.ipv4.conf.IFNAME.[a-z_]*$\\nnet/core/somaxconn\\n");
    call.add().success();
    at.typed(&config(all())).run("STATUS").success();
    assert_eq!(settings(&at), tuned());
    allow("");
    call.del().success();
    assert_eq!(settings(&at), before);
    chained(&at, json!({ "mtu": 1400 })).add().success();
}

#[test]
fn a_failed_add_restores_what_it_changed() {
    let at = attached();
    let before = settings(&at);
    for (keys, word) in [
        (json!({ "mtu": 100_000 }), "mtu 100000"),
        (json!({ "sysctl": { "net.core.somaxconn": "5", "net.ipv4.conf.IFNAME.arp_filter": "many" } }), "arp_filter"),
        (json!({ "sysctl": { "net.core.somaxconn": "5", "net.ipv4.no_such": "1" } }), "no_such"),
    ] {
        let error = chained(&at, conf::with(all(), keys)).add().failure();
        assert!(error.text.contains(word), "{word}: {}", error.text);
        assert_eq!((settings(&at), backups(&at)), (before.clone(), vec![]), "{word}");
    }
}

#[test]
fn a_second_add_keeps_the_first_values() {
    let at = attached();
    let before = settings(&at);
    for _ in 0..2 {
        chained(&at, all()).add().success();
    }
    chained(&at, json!({ "mtu": 1300 })).add().success();
    chained(&at, json!({})).del().success();
    assert_eq!((settings(&at), backups(&at)), (before, vec![]));
}

#[test]
fn a_call_killed_anywhere_is_finished_by_the_next() {
    let at = attached();
    let before = settings(&at);
    let call = chained(&at, all());
    for verb in ["ADD", "DEL"] {
        let mut kills = 0;
        // One by one, because strace counts in each thread by itself: sysctls are written in one of their own.
        for system_call in ["sendto", "write", "rename", "openat", "setns", "unlink"] {
            for nth in 1.. {
                if verb == "DEL" {
                    call.add().success();
                }
                if !call.killed_at(verb, system_call, nth) {
                    call.del().success();
                    break;
                }
                kills += 1;
                if verb == "ADD" && nth % 2 == 0 {
                    call.add().success();
                }
                call.del().success();
                let now = (settings(&at), backups(&at));
                assert_eq!(now, (before.clone(), vec![]), "{verb} killed at {system_call} {nth}");
            }
        }
        assert!(kills > 10, "{verb}: only {kills} system calls were seen");
    }
}

#[test]
fn del_removes_the_backup_of_a_pod_that_is_gone() {
    for without in [false, true] {
        let at = attached();
        chained(&at, all()).add().success();
        let Attached { pod, .. } = &at;
        let id = pod.id().clone();
        let call = at.typed(&config(json!({ "mtu": "no longer valid" }))).pod(&id);
        let call = if without { call.without("CNI_NETNS") } else { call.env("CNI_NETNS", "/run/netns/gone") };
        call.del().success();
        assert!(backups(&at).is_empty());
        call.del().success();
    }
}

#[test]
fn another_pods_namespace_at_the_same_path_is_left_alone() {
    let at = attached();
    chained(&at, all()).add().success();
    let other = at.pod("b");
    let result = at.typed(&at.config).pod(&other).add().success();
    at.typed(&config(json!({ "mtu": 1300 }))).pod(&other).prev_result(&result).add().success();
    let wrong = at.typed(&config(json!({}))).pod(&at.pod).env("CNI_NETNS", &other.id().netns);
    wrong.del().success();
    assert_eq!(other.link("eth0").map(|link| link["mtu"].clone()), Some(json!(1300)));
    assert_eq!(backups(&at), ["pod-b_eth0.json"]);
}

#[test]
fn two_interfaces_of_a_pod_share_a_sysctl() {
    let at = attached();
    let second = at.typed(&at.config).ifname("eth1").pod(&at.pod).add().success();
    let keys = json!({ "sysctl": { "net.core.somaxconn": "500" } });
    let value = || at.pod.sysctl("net/core/somaxconn");
    let before = value();
    let first = chained(&at, keys.clone());
    let other = at.typed(&config(keys)).ifname("eth1").pod(&at.pod).prev_result(&second);
    for last_in_first_out in [true, false] {
        first.add().success();
        other.add().success();
        // Only the first has changed it, but the second asked for it as well.
        if last_in_first_out {
            other.del().success();
            assert_eq!(value(), "500");
            first.del().success();
            assert_eq!(value(), before);
        } else {
            first.del().success();
            other.check().success();
        }
    }
}

#[test]
fn gc_removes_backups_of_the_network_only() {
    let at = attached();
    chained(&at, all()).add().success();
    podlink_tests::files::write(&at.outside(DIR).join("go_eth0.json"), r#"{"mtu": 1500}"#);
    let gc = |network: &str, valid: Value| {
        at.typed(&config(json!({ "name": network, "cni.dev/valid-attachments": valid }))).run("GC").success();
        backups(&at)
    };
    let ours = json!([{ "containerID": "pod-a", "ifname": "eth0" }]);
    assert_eq!(gc("other", json!([])).len(), 2);
    assert_eq!(gc("net", ours).len(), 2);
    assert_eq!(gc("net", json!([])), ["go_eth0.json"]);
}

#[test]
fn what_go_made_we_delete_and_what_we_made_go_deletes() {
    let keys =
        json!({ "cniVersion": "1.0.0", "name": "net", "type": "tuning", "mac": MAC, "mtu": 1400, "promisc": true });
    for (add, del) in [(BinDir::reference(), BinDir::ours()), (BinDir::ours(), BinDir::reference())] {
        let at = Attached::to(&conf::gateway(&[V4], json!({ "cniVersion": "1.0.0" })));
        let before = settings(&at);
        let call = |bins: &BinDir| at.plugin(bins, "tuning").pod(&at.pod).config(&keys).prev_result(&at.result);
        let result = call(&add).add().success();
        assert_eq!((at.eth0()["address"].as_str(), at.eth0()["mtu"].as_u64()), (Some(MAC), Some(1400)));
        for bins in [BinDir::ours(), BinDir::reference()] {
            call(&bins).prev_result(&result).check().success();
        }
        call(&del).del().success();
        assert_eq!((settings(&at), backups(&at)), (before, vec![]));
    }
}

#[test]
fn bad_input_is_refused_and_changes_nothing() {
    let at = attached();
    let before = settings(&at);
    for (keys, word) in [
        (json!({ "sysctl": { "kernel.shmmax": "1" } }), "kernel.shmmax"),
        (json!({ "sysctl": { "net/../kernel/shmmax": "1" } }), "net/../kernel/shmmax"),
        (json!({ "sysctl": { "/net/core/somaxconn": "1" } }), "/net/core/somaxconn"),
        (json!({ "sysctl": { "net.core.somaxconn": 1 } }), "net.core.somaxconn"),
        (json!({ "mtu": -1 }), "mtu"),
        (json!({ "txQLen": 4_294_967_296_u64 }), "txQLen"),
        (json!({ "mac": "ff:ff:ff:ff:ff:ff" }), "mac"),
    ] {
        let error = chained(&at, keys.clone()).add().failure();
        assert!(error.code == 7 && error.text.contains(word), "{keys}: {} {}", error.code, error.text);
    }
    let twice = br#"{"cniVersion":"1.0.0","name":"net","type":"tuning","sysctl":{"net.a":"1","net.a":"2"}}"#;
    let error = at.typed(&config(json!({}))).stdin(&twice[..]).pod(&at.pod).add().failure();
    assert!(error.text.contains("duplicated"), "{}", error.text);
    let error = at.typed(&config(all())).pod(&at.pod).add().failure();
    assert!(error.text.contains("prevResult"), "{}", error.text);
    assert_eq!((settings(&at), backups(&at)), (before, vec![]));
}

#[test]
fn many_at_once_do_not_disturb_each_other() {
    let at = attached();
    let pods: Vec<_> = (0..20).map(|number| at.pod(&format!("p{number}"))).collect();
    std::thread::scope(|scope| {
        for pod in &pods {
            let at = &at;
            scope.spawn(move || {
                let result = at.typed(&at.config).pod(pod).add().success();
                let call = at.typed(&config(all())).pod(pod).prev_result(&result);
                call.add().success();
                call.check().success();
                call.del().success();
            });
        }
    });
    assert!(backups(&at).is_empty());
}
