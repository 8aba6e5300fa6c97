//! A plugin's bug is an answer, as any other failure is.
#![allow(clippy::unwrap_used, reason = "a failed test is a panic")]

use std::io::Write;
use std::process::{Command, Stdio};

/// `examples/panicking.rs`, which cargo builds beside the tests.
fn panicking(verb: &str) -> std::process::Output {
    let tests = std::env::current_exe().unwrap();
    let program = tests.parent().and_then(|deps| deps.parent()).unwrap().join("examples/panicking");
    let mut child = Command::new(program)
        .env_clear()
        .envs([("CNI_COMMAND", verb), ("CNI_CONTAINERID", "c1"), ("CNI_IFNAME", "eth0"), ("CNI_NETNS", "/none")])
        .env("CNI_PATH", "/none")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let config = br#"{"cniVersion": "1.0.0", "name": "net", "type": "panicking"}"#;
    child.stdin.take().unwrap().write_all(config).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn a_panic_is_an_error_on_stdout_wherever_it_is() {
    for (verb, text) in [("ADD", "no such thing in c1"), ("DEL", "in a thread")] {
        let output = panicking(verb);
        assert_eq!(output.status.code(), Some(1), "{verb}: {output:?}");
        let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(answer["code"], 999, "{verb}: {answer}");
        let msg = answer["msg"].as_str().unwrap();
        assert!(msg.contains(text) && msg.contains("panicking.rs:"), "{verb}: {msg}");
        assert!(output.stderr.is_empty(), "{verb}: no backtrace: {output:?}");
    }
}
