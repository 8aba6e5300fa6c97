//! The verbs as a runtime calls them, where the reference is no measure: it has no GC and STATUS, and checks less.
#![allow(clippy::unwrap_used, reason = "a failed test is a panic")]

mod common;

use std::collections::HashSet;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::thread;

use common::{Answer, OURS, config, tree};
use serde_json::{Value, json};

fn call(dir: &Path, verb: &str, id: &str, ipam: &Value) -> Answer {
    call_with(dir, verb, id, "", ipam, &json!({}))
}

fn call_with(dir: &Path, verb: &str, id: &str, args: &str, ipam: &Value, rest: &Value) -> Answer {
    common::call(OURS, verb, id, args, &config("1.1.0", dir, ipam, rest))
}

fn slash_24() -> Value {
    json!({ "subnet": "10.1.0.0/24" })
}

#[test]
fn version_1_1_0_passes_on_route_attributes() {
    let dir = tempfile::tempdir().unwrap();
    let route = json!({
        "dst": "192.0.2.0/24", "gw": "10.1.0.9", "mtu": 1400, "advmss": 1360, "priority": 7, "table": 100, "scope": 253,
    });
    let answer = call(dir.path(), "ADD", "c1", &json!({ "subnet": "10.1.0.0/24", "routes": [route] }));
    assert_eq!(answer.json()["cniVersion"], "1.1.0");
    assert_eq!(answer.json()["routes"], json!([route]));
}

#[test]
fn a_refused_request_reserves_nothing_in_any_set() {
    let dir = tempfile::tempdir().unwrap();
    let ipam = json!({ "ranges": [[{ "subnet": "10.1.0.0/24" }], [{ "subnet": "2001:db8::/64" }]] });
    call_with(dir.path(), "ADD", "c1", "IP=2001:db8::9", &ipam, &json!({}));
    let before = tree(dir.path());
    for (ips, code, part) in [
        (json!(["2001:db8::9"]), 999, "container c1 interface eth0 has it"),
        (json!(["10.1.0.9", "192.0.2.1"]), 7, "192.0.2.1 is in no range set"),
        (json!(["10.1.0.9", "10.1.0.8"]), 7, "are both in range set 0"),
        (json!(["10.1.0.1"]), 7, "is the gateway"),
        (json!(["10.1.0.255"]), 7, "in no range set"),
        (json!(["::ffff:10.1.0.9"]), 7, "runtimeConfig.ips[0]"),
        (json!("10.1.0.9"), 7, "runtimeConfig.ips"),
    ] {
        let rest = json!({ "runtimeConfig": { "ips": ips } });
        assert_eq!(call_with(dir.path(), "ADD", "c2", "", &ipam, &rest).error(part), code, "{ips}");
        assert_eq!(tree(dir.path()), before, "{ips}");
    }
}

#[test]
fn a_second_add_is_refused_and_names_the_file() {
    let dir = tempfile::tempdir().unwrap();
    call(dir.path(), "ADD", "c1", &slash_24());
    let before = tree(dir.path());
    let file = dir.path().join("net/10.1.0.2");
    assert_eq!(call(dir.path(), "ADD", "c1", &slash_24()).error(file.to_str().unwrap()), 999);
    assert_eq!(tree(dir.path()), before);
}

#[test]
fn a_full_range_tells_all_about_it() {
    let dir = tempfile::tempdir().unwrap();
    let ipam = json!({ "subnet": "10.1.0.0/29", "rangeEnd": "10.1.0.3" });
    for id in ["c1", "c2"] {
        assert!(call(dir.path(), "ADD", id, &ipam).success);
    }
    let full = call(dir.path(), "ADD", "c3", &ipam);
    for part in [
        "container c3 interface eth0",
        "no IP addresses available in range set 0 of network net (10.1.0.1-10.1.0.3)",
        "2 of its 2 addresses are held",
        dir.path().join("net").to_str().unwrap(),
    ] {
        assert_eq!(full.error(part), 999);
    }
    assert_eq!(call(dir.path(), "STATUS", "", &ipam).error("no IP addresses available"), 50);
    assert!(call(dir.path(), "DEL", "c1", &ipam).success);
    assert!(call(dir.path(), "STATUS", "", &ipam).success);
}

#[test]
fn check_finds_a_lost_reservation() {
    let dir = tempfile::tempdir().unwrap();
    let ipam = json!({ "ranges": [[{ "subnet": "10.1.0.0/24" }], [{ "subnet": "2001:db8::/64" }]] });
    let result = call(dir.path(), "ADD", "c1", &ipam);
    let mut prev = result.json();
    prev["ips"].as_array_mut().unwrap().push(json!({ "address": "192.0.2.1/24" }));
    let check = || call_with(dir.path(), "CHECK", "c1", "", &ipam, &json!({ "prevResult": prev }));
    assert!(check().success, "an address from elsewhere is not ours to judge: {:?}", check());
    fs::write(dir.path().join("net/2001:db8::2"), "c2\r\neth0").unwrap();
    assert_eq!(check().error("2001:db8::2 of network \"net\", which is not reserved for it"), 999);
    fs::remove_file(dir.path().join("net/10.1.0.2")).unwrap();
    assert_eq!(check().error("failed to find an address of network \"net\" held by container c1"), 999);
}

#[test]
fn del_needs_only_the_place_of_the_files() {
    let dir = tempfile::tempdir().unwrap();
    call(dir.path(), "ADD", "c1", &slash_24());
    let wrong = json!({ "subnet": "192.0.2.9/24", "ranges": "none", "routes": 7, "resolvConf": "/nonexistent" });
    let answer = call_with(dir.path(), "DEL", "c1", "IP=nonsense", &wrong, &json!({ "runtimeConfig": 5 }));
    assert!(answer.success && answer.stdout.is_empty(), "{answer:?}");
    assert!(!dir.path().join("net/10.1.0.2").exists());
}

#[test]
fn del_creates_nothing() {
    let dir = tempfile::tempdir().unwrap();
    assert!(call(&dir.path().join("absent"), "DEL", "c1", &slash_24()).success);
    assert!(tree(dir.path()).is_empty());
}

#[test]
fn gc_releases_what_is_not_valid() {
    let dir = tempfile::tempdir().unwrap();
    for id in ["live", "dead"] {
        call(dir.path(), "ADD", id, &slash_24());
    }
    let gc = |rest: Value| call_with(dir.path(), "GC", "", "", &slash_24(), &rest);
    assert_eq!(gc(json!({})).error("cni.dev/valid-attachments"), 7, "an absent list is not an empty one");
    assert!(dir.path().join("net/10.1.0.3").exists());
    let answer = gc(json!({ "cni.dev/valid-attachments": [{ "containerID": "live", "ifname": "eth0" }] }));
    assert!(
        answer.success && answer.stderr.contains("released 10.1.0.3 of container dead interface eth0"),
        "{answer:?}"
    );
    assert!(!dir.path().join("net/10.1.0.3").exists() && dir.path().join("net/10.1.0.2").exists());
    assert!(gc(json!({ "cni.dev/valid-attachments": [] })).success);
    assert!(!dir.path().join("net/10.1.0.2").exists());
}

#[test]
fn gc_tells_what_it_could_not_release_and_releases_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    call(dir.path(), "ADD", "dead", &slash_24());
    let stuck = dir.path().join("net/.podlink-new");
    fs::create_dir(&stuck).unwrap();
    let rest = json!({ "cni.dev/valid-attachments": [] });
    let answer = call_with(dir.path(), "GC", "", "", &slash_24(), &rest);
    assert_eq!(answer.error(&format!("cannot remove {}", stuck.display())), 5);
    assert!(!dir.path().join("net/10.1.0.2").exists());
}

#[test]
fn status_says_why_an_add_would_fail() {
    let dir = tempfile::tempdir().unwrap();
    assert!(call(dir.path(), "STATUS", "", &slash_24()).success);
    assert!(tree(dir.path()).is_empty(), "STATUS writes nothing");
    assert_eq!(call(dir.path(), "STATUS", "", &json!({ "subnet": "10.1.0.0/31" })).error("too small"), 7);
    let no_dns = json!({ "subnet": "10.1.0.0/24", "resolvConf": "/nonexistent" });
    assert_eq!(call(dir.path(), "STATUS", "", &no_dns).error("ipam.resolvConf /nonexistent"), 50);
    fs::write(dir.path().join("net"), "a file in the way").unwrap();
    assert_eq!(call(dir.path(), "STATUS", "", &slash_24()).error("a file is in the place of a directory"), 50);
    assert_eq!(call(dir.path(), "ADD", "c1", &slash_24()).error("a file is in the place of a directory"), 5);
}

#[test]
fn damaged_files_are_named_on_stderr() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("net")).unwrap();
    fs::write(dir.path().join("net/10.1.0.2"), "").unwrap();
    let answer = call(dir.path(), "ADD", "c1", &slash_24());
    assert_eq!(answer.ips(), ["10.1.0.2/24"]);
    assert!(answer.stderr.contains(dir.path().join("net/10.1.0.2").to_str().unwrap()), "{answer:?}");
}

#[test]
fn processes_at_once_get_different_addresses() {
    let dir = tempfile::tempdir().unwrap();
    let add = |i: usize| call(dir.path(), "ADD", &format!("c{i}"), &slash_24()).ips();
    let given: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..24).map(|i| scope.spawn(move || add(i))).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!((given.len(), given.iter().collect::<HashSet<_>>().len()), (24, 24));
}

/// A runtime may start us with a stderr that nobody reads any more.
#[test]
fn a_closed_stderr_does_not_turn_an_add_into_an_error() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("net")).unwrap();
    fs::write(dir.path().join("net/10.1.0.2"), "").unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let (config_reader, mut config_writer) = std::io::pipe().unwrap();
    config_writer.write_all(config("1.1.0", dir.path(), &slash_24(), &json!({})).to_string().as_bytes()).unwrap();
    drop(config_writer);
    let output = Command::new(OURS)
        .env_clear()
        .envs([("CNI_COMMAND", "ADD"), ("CNI_CONTAINERID", "c1"), ("CNI_IFNAME", "eth0")])
        .envs([("CNI_NETNS", "/none"), ("CNI_PATH", "/usr/lib/cni")])
        .stdin(config_reader)
        .stderr(writer)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}
