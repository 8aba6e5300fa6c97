//! The program that is every plugin: `bridge` and `host-local` are names of one file, and the one calls the other in
//! the same process.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::process::Command;

use podlink_tests::conf::gateway;
use podlink_tests::{BinDir, Node};
use serde_json::{Value, json};

const NAMES: [&str; 7] = ["bandwidth", "bridge", "firewall", "host-local", "loopback", "portmap", "tuning"];

/// A directory on the node with hard links to a copy of the program.
fn suite(node: &Node) -> BinDir {
    BinDir::of_one_program(node, &NAMES)
}

fn config(version: &str) -> Value {
    let mut config = gateway(&["10.7.0.0/29", "fd07::/64"], json!({ "cniVersion": version, "isDefaultGateway": true }));
    config["ipam"]["routes"] = json!([{ "dst": "10.99.0.0/16" }]);
    config
}

#[test]
fn the_answers_are_those_of_separate_programs() {
    for version in ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"] {
        let [one, separate] = [true, false].map(|one| {
            let node = Node::new();
            let bins = if one { suite(&node) } else { BinDir::ours() };
            let pod = node.pod("a");
            let call = node.plugin(&bins, "bridge").config(&config(version)).pod(&pod);
            let result = call.add().success();
            let again = call.add().failure();
            if version >= "0.4.0" {
                call.clone().prev_result(&result).check().success();
                std::fs::remove_file(node.outside("/var/lib/cni/networks/net/10.7.0.2")).unwrap();
                assert!(call.clone().prev_result(&result).check().failure().text.contains("10.7.0.2"));
            }
            call.del().success();
            call.del().success();
            assert_eq!(node.reserved("net"), [""; 0]);
            (podlink_tests::compare::Labels::default().result(&result), again.code)
        });
        assert_eq!(one, separate, "{version}");
    }
}

#[test]
fn a_full_range_is_the_same_error_and_leaves_nothing() {
    let [one, separate] = [true, false].map(|one| {
        let node = Node::new();
        let bins = if one { suite(&node) } else { BinDir::ours() };
        let pods: Vec<_> = (0..6).map(|i| node.pod(&format!("p{i}"))).collect();
        let add = |index: usize| node.plugin(&bins, "bridge").config(&config("1.0.0")).pod(&pods[index]).add();
        (0..5).for_each(|index| _ = add(index).success());
        let error = add(5).failure();
        assert_eq!(pods[5].link_names(), [""; 0]);
        assert_eq!(node.reserved("net").len(), 10);
        let gc = |valid: Value| {
            let mut config = config("1.1.0");
            config["cni.dev/valid-attachments"] = valid;
            node.plugin(&bins, "bridge").config(&config).run("GC").success();
        };
        assert_eq!(node.plugin(&bins, "bridge").config(&config("1.1.0")).run("STATUS").failure().code, 50);
        gc(json!([{ "containerID": "pod-p0", "ifname": "eth0" }]));
        assert_eq!(node.reserved("net").len(), 2);
        node.plugin(&bins, "bridge").config(&config("1.1.0")).run("STATUS").success();
        error
    });
    assert_eq!((one.code, one.text.lines().next()), (separate.code, separate.text.lines().next()));
}

#[test]
fn no_process_is_started() {
    let node = Node::new();
    let bins = suite(&node);
    let pod = node.pod("a");
    for verb in ["ADD", "DEL"] {
        let call = node.plugin(&bins, "bridge").config(&config("1.0.0")).pod(&pod);
        let plugin = call.command(verb);
        let mut traced = Command::new("strace");
        traced.args(["-f", "-e", "trace=execve", "-o"]).arg(node.dir().join(verb)).arg(plugin.get_program());
        traced.env_clear().envs(plugin.get_envs().filter_map(|(key, value)| Some((key, value?))));
        assert_eq!(node.finish(&mut traced, call.input()).code, Some(0));
        let text = std::fs::read_to_string(node.dir().join(verb)).unwrap();
        assert_eq!(text.matches("execve(").count(), 1, "{verb}: {text}");
    }
}

#[test]
fn a_host_local_that_is_another_file_is_run() {
    let node = Node::new();
    let bins = suite(&node);
    let pod = node.pod("a");
    std::fs::remove_file(bins.path().join("host-local")).unwrap();
    podlink_tests::files::copy_program(&BinDir::reference().plugin("host-local"), &bins.path().join("host-local"));
    let call = node.plugin(&bins, "bridge").config(&config("1.0.0")).pod(&pod);
    call.add().success();
    call.del().success();
    assert_eq!(node.reserved("net"), [""; 0]);
}
