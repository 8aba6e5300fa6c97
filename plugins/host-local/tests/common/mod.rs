//! Running a host-local executable, ours or the Go one.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::collections::BTreeMap;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

pub const OURS: &str = env!("CARGO_BIN_EXE_host-local");
pub const REFERENCE: &str = "/usr/lib/cni/host-local";

/// What a plugin answered.
#[derive(Debug)]
pub struct Answer {
    pub success: bool,
    pub stdout: String,
    pub stderr: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or(Value::Null)
    }

    /// The addresses of a result of 0.3.0 or newer.
    pub fn ips(&self) -> Vec<String> {
        assert!(self.success, "{self:?}");
        let json = self.json();
        json["ips"].as_array().unwrap().iter().map(|ip| ip["address"].as_str().unwrap().to_owned()).collect()
    }

    /// The code of an error whose text contains `part`.
    pub fn error(&self, part: &str) -> u64 {
        let json = self.json();
        let text =
            format!("{}; {}", json["msg"].as_str().unwrap_or_default(), json["details"].as_str().unwrap_or_default());
        assert!(!self.success && text.contains(part), "{part:?} expected: {self:?}");
        json["code"].as_u64().unwrap()
    }
}

/// One call. `args` is `CNI_ARGS`.
pub fn call(program: &str, verb: &str, container_id: &str, args: &str, config: &Value) -> Answer {
    let mut child = Command::new(program)
        .env_clear()
        .envs([("CNI_COMMAND", verb), ("CNI_CONTAINERID", container_id), ("CNI_IFNAME", "eth0"), ("CNI_ARGS", args)])
        .envs([("CNI_NETNS", "/none"), ("CNI_PATH", "/usr/lib/cni")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error}; install containernetworking-plugins"));
    match child.stdin.take().unwrap().write_all(config.to_string().as_bytes()) {
        // It may have answered without reading.
        Err(error) if error.kind() != ErrorKind::BrokenPipe => panic!("{error}"),
        _ => {}
    }
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Answer { success: output.status.success(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// A config with this `ipam` section, its addresses in `data_dir`, and more top-level keys.
pub fn config(version: &str, data_dir: &Path, ipam: &Value, rest: &Value) -> Value {
    let mut ipam = ipam.clone();
    ipam["type"] = json!("host-local");
    ipam["dataDir"] = json!(data_dir);
    let mut config = json!({ "cniVersion": version, "name": "net", "type": "bridge", "ipam": ipam });
    config.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
    config
}

/// Every file and directory below, by path, with mode and content. Without our index: it is a cache.
pub fn tree(dir: &Path) -> BTreeMap<String, (u32, Vec<u8>)> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let (name, path) = (entry.file_name().into_string().unwrap(), entry.path());
        if name == ".podlink" {
            continue;
        }
        let mode = entry.metadata().unwrap().permissions().mode();
        if path.is_dir() {
            found.extend(tree(&path).into_iter().map(|(below, file)| (format!("{name}/{below}"), file)));
            found.insert(name, (mode, Vec::new()));
        } else {
            found.insert(name, (mode, std::fs::read(path).unwrap()));
        }
    }
    found
}
