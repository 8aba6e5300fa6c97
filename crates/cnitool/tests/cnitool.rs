//! The built program against fake plugins: what it prints, where, and with which exit status.

#![allow(clippy::unwrap_used, reason = "these are tests, outside of #[test] functions")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

/// A directory with the conflist `net`, and one plugin, `fake`, of crates/runtime's tests.
fn scene() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../runtime/tests/plugin.sh");
    std::os::unix::fs::symlink(script, dir.path().join("fake")).unwrap();
    let conflist = r#"{"cniVersion": "1.1.0", "name": "net", "plugins": [{"type": "fake"}]}"#;
    fs::write(dir.path().join("10-net.conflist"), conflist).unwrap();
    fs::write(
        dir.path().join("fake.ADD"),
        r#"{"cniVersion": "0.4.0", "ips": [{"version": "4", "address": "10.1.2.3/24"}]}"#,
    )
    .unwrap();
    dir
}

fn cnitool(dir: &TempDir, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_cnitool"))
        .args(arguments)
        .arg("--cache-dir")
        .arg(dir.path())
        .env_clear()
        .envs([("PATH", "/usr/bin:/bin".as_ref()), ("NETCONFPATH", dir.path()), ("CNI_PATH", dir.path())])
        .output()
        .unwrap()
}

/// Lines of `name VERB`.
fn log(dir: &TempDir) -> Vec<String> {
    let text = fs::read_to_string(dir.path().join("log")).unwrap_or_default();
    text.lines().map(|line| line.split(' ').take(2).collect::<Vec<_>>().join(" ")).collect()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn a_life_from_add_to_del() {
    let dir = scene();
    let added = cnitool(&dir, &["add", "net", "/run/netns/x"]);
    assert_eq!((added.status.code(), text(&added.stderr)), (Some(0), ""));
    let expected = "{\n    \"cniVersion\": \"1.1.0\",\n    \"ips\": [\n        {\n            \"address\": \"10.1.2.3/24\"\n        }\n    ],\n    \"dns\": {}\n}\n";
    assert_eq!(text(&added.stdout), expected);
    assert_eq!(fs::read_dir(dir.path().join("results")).unwrap().count(), 1);
    for command in ["check", "status", "del", "del"] {
        let output = cnitool(&dir, &[command, "net", "/run/netns/x"]);
        assert_eq!((output.status.code(), text(&output.stdout), text(&output.stderr)), (Some(0), "", ""), "{command}");
    }
    assert_eq!(log(&dir), ["fake ADD", "fake CHECK", "fake STATUS", "fake DEL", "fake DEL"]);
    assert_eq!(fs::read_dir(dir.path().join("results")).unwrap().count(), 0);
}

#[test]
fn gc_removes_all_but_what_is_kept() {
    let dir = scene();
    let results = || {
        let entries = fs::read_dir(dir.path().join("results")).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect::<Vec<_>>()
    };
    for netns in ["/run/netns/x", "/run/netns/y"] {
        assert!(cnitool(&dir, &["add", "net", netns]).status.success());
    }
    let kept = results().remove(0);
    let keep = kept.trim_start_matches("net-").replace("-eth0", "/eth0");
    assert!(cnitool(&dir, &["gc", "net", "--keep", &keep]).status.success());
    assert_eq!(results(), [kept]);
    assert!(cnitool(&dir, &["gc", "net", "/run/netns/x"]).status.success());
    assert!(results().is_empty());
}

#[test]
fn errors_go_to_stderr_with_status_1() {
    let dir = scene();
    fs::write(dir.path().join("fake.ADD"), r#"{"code": 11, "msg": "full", "details": "no address left"}"#).unwrap();
    fs::write(dir.path().join("fake.ADD.fails"), "").unwrap();
    for (arguments, words) in [
        (
            &["add", "net", "/run/netns/x"][..],
            &["10-net.conflist", "plugin 1 of 1 (fake)", "full; no address left"][..],
        ),
        (&["check", "net", "/run/netns/x"], &["no cached result", "results/net-cnitool-"]),
        (&["add", "nonesuch", "/run/netns/x"], &["\"nonesuch\"", "\"net\"", "10-net.conflist"]),
        (&["add"], &["NETCONFPATH"]),
    ] {
        let output = cnitool(&dir, arguments);
        assert_eq!((output.status.code(), text(&output.stdout)), (Some(1), ""), "{arguments:?}");
        let stderr = text(&output.stderr);
        assert!(words.iter().all(|word| stderr.contains(word)), "{arguments:?}: {stderr}");
    }
}
