//! The operator's log: one line of JSON a call, and never in the way of it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::path::{Path, PathBuf};

use podlink_tests::conf::{gateway, with};
use podlink_tests::{BinDir, Node};
use serde_json::{Value, json};

fn config(keys: Value) -> Value {
    gateway(&["10.7.0.0/24"], with(json!({ "ipMasq": true }), keys))
}

fn lines(file: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(file).unwrap();
    assert!(text.ends_with('\n'), "{text}");
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
}

fn steps(line: &Value) -> Vec<&str> {
    line["steps"].as_array().unwrap().iter().map(|step| step["step"].as_str().unwrap()).collect()
}

/// A directory of the node with the one program under two names.
fn one_program(node: &Node) -> BinDir {
    BinDir::of_one_program(node, &["bridge", "host-local"])
}

fn log_file(node: &Node) -> PathBuf {
    node.dir().join("log")
}

#[test]
fn a_line_tells_what_was_done_for_whom_and_how_long_it_took() {
    let node = Node::new();
    let pod = node.pod("a");
    let log = log_file(&node);
    let call = node.plugin(&one_program(&node), "bridge").config(&config(json!({}))).pod(&pod).env("PODLINK_LOG", &log);
    call.add().success();
    call.add().failure();
    call.del().success();
    call.clone().run("STATUS").success();
    call.clone().stdin("{").run("ADD").failure();
    let lines = lines(&log);
    let verbs: Vec<_> =
        lines.iter().map(|line| (line["verb"].as_str().unwrap(), line["outcome"].as_str().unwrap())).collect();
    assert_eq!(verbs, [("ADD", "ok"), ("ADD", "error"), ("DEL", "ok"), ("STATUS", "ok"), ("ADD", "error")]);

    let add = &lines[0];
    let id = pod.id();
    for (key, value) in [
        ("plugin", json!("bridge")),
        ("network", json!("net")),
        ("container", json!(id.container_id)),
        ("ifname", json!("eth0")),
        ("netns", json!(id.netns)),
    ] {
        assert_eq!(add[key], value, "{key}: {add}");
    }
    assert!(add["pid"].as_u64().is_some() && add["time"].as_str().unwrap().ends_with('Z'), "{add}");
    let of_add = steps(add);
    for step in [
        "read the call",
        "create the veth pair",
        "IPAM ADD",
        "reserve the addresses",
        "make the bridge and its port",
        "add the rules",
        "set addresses and routes",
    ] {
        assert!(of_add.contains(&step), "{step} is not in {add}");
    }
    let whole = add["duration_us"].as_u64().unwrap();
    for step in add["steps"].as_array().unwrap() {
        assert!(step["at_us"].as_u64().unwrap() + step["us"].as_u64().unwrap() <= whole, "{add}");
    }
    assert!(
        steps(&lines[2]).contains(&"delete the veth pair") && steps(&lines[2]).contains(&"IPAM DEL"),
        "{}",
        lines[2]
    );
    assert!(lines[1]["msg"].as_str().unwrap().contains("eth0") && lines[1]["code"].is_u64(), "{}", lines[1]);
    // Of what could not be read, what the variables say is known.
    assert!(
        lines[4]["code"] == 6 && lines[4]["container"] == id.container_id.as_str() && lines[4].get("network").is_none()
    );
}

#[test]
fn a_delegated_program_writes_a_line_of_its_own() {
    let node = Node::new();
    let pod = node.pod("a");
    let log = log_file(&node);
    let keys = json!({ "podlinkLog": log });
    let call = node.plugin(&BinDir::ours(), "bridge").config(&config(keys)).pod(&pod);
    call.add().success();
    let lines = lines(&log);
    let plugins: Vec<_> = lines.iter().map(|line| line["plugin"].as_str().unwrap()).collect();
    assert_eq!(plugins, ["host-local", "bridge"]);
    assert!(steps(&lines[0]).contains(&"reserve the addresses"), "{}", lines[0]);
    assert!(steps(&lines[1]).contains(&"IPAM ADD: wait for it"), "{}", lines[1]);
    // The variable counts before the key.
    call.clone().env("PODLINK_LOG", "stderr").del().success();
    assert_eq!(self::lines(&log).len(), 2);
}

#[test]
fn stderr_gets_a_line_too() {
    let node = Node::new();
    let pod = node.pod("a");
    let call = node.plugin(&one_program(&node), "bridge").config(&config(json!({}))).pod(&pod);
    let added = call.clone().env("PODLINK_LOG", "stderr").add();
    added.success();
    let line: Value = serde_json::from_str(added.stderr()).unwrap();
    assert_eq!((&line["plugin"], &line["outcome"]), (&json!("bridge"), &json!("ok")));
}

#[test]
fn a_log_that_cannot_be_written_fails_no_call() {
    let node = Node::new();
    let pod = node.pod("a");
    let fifo = node.dir().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let bins = one_program(&node);
    for (place, word) in [
        ("relative/path".to_owned(), "absolute"),
        (node.dir().join("no/such/dir").to_str().unwrap().to_owned(), "No such file"),
        (node.dir().to_str().unwrap().to_owned(), "directory"),
        ("/dev/full".to_owned(), "No space"),
        (fifo.to_str().unwrap().to_owned(), "log"),
    ] {
        let call = node.plugin(&bins, "bridge").config(&config(json!({}))).pod(&pod).env("PODLINK_LOG", &place);
        let added = call.add();
        added.success();
        assert!(added.stderr().contains(word), "{place}: {}", added.stderr());
        call.del().success();
    }
    let quiet = node.plugin(&bins, "bridge").config(&config(json!({}))).pod(&pod).add();
    quiet.success();
    assert_eq!(quiet.stderr(), "");
}

#[test]
fn lines_of_calls_at_the_same_time_do_not_mix() {
    let node = Node::new();
    let log = log_file(&node);
    let bins = one_program(&node);
    let pods: Vec<_> = (0..16).map(|i| node.pod(&format!("p{i}"))).collect();
    std::thread::scope(|scope| {
        for pod in &pods {
            let call = node.plugin(&bins, "bridge").config(&config(json!({}))).pod(pod).env("PODLINK_LOG", &log);
            scope.spawn(move || {
                call.add().success();
                call.del().success();
            });
        }
    });
    let lines = lines(&log);
    assert_eq!(lines.len(), 2 * pods.len());
    assert!(lines.iter().all(|line| line["outcome"] == "ok"));
}
