//! A directory with fake plugins, a cache, and a runtime over both.

#![allow(clippy::unwrap_used, reason = "these are tests, outside of #[test] functions")]

use std::fs;
use std::path::{Path, PathBuf};

use runtime::{NetworkList, Runtime, RuntimeConf};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Plugins `one`, `two` and `three`, each of which is `tests/plugin.sh`.
pub struct Bench {
    pub dir: TempDir,
    pub runtime: Runtime,
}

impl Bench {
    pub fn new() -> Bench {
        let dir = tempfile::tempdir().unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/plugin.sh");
        for name in ["one", "two", "three"] {
            // A link to a file that is never written: a fresh copy could be "text file busy" while others fork.
            std::os::unix::fs::symlink(&script, dir.path().join(name)).unwrap();
        }
        let path = vec![dir.path().join("nothing here"), dir.path().to_owned()];
        let runtime = Runtime::new(path, dir.path().join("cache"));
        let bench = Bench { dir, runtime };
        for (name, ip) in [("one", "10.1.0.1/24"), ("two", "10.2.0.1/24"), ("three", "10.3.0.1/24")] {
            bench.answers(name, "ADD", &json!({"cniVersion": "1.0.0", "ips": [{"address": ip}]}).to_string());
        }
        bench
    }

    /// What `plugin` prints for `verb`.
    pub fn answers(&self, plugin: &str, verb: &str, text: &str) {
        fs::write(self.dir.path().join(format!("{plugin}.{verb}")), text).unwrap();
    }

    /// `plugin` prints `text` for `verb` and fails.
    pub fn fails(&self, plugin: &str, verb: &str, text: &str) {
        self.answers(plugin, verb, text);
        fs::write(self.dir.path().join(format!("{plugin}.{verb}.fails")), "").unwrap();
    }

    /// `plugin` succeeds again.
    pub fn heals(&self, plugin: &str, verb: &str) {
        fs::remove_file(self.dir.path().join(format!("{plugin}.{verb}.fails"))).unwrap();
    }

    /// Lines of `name VERB container` since the last look.
    pub fn log(&self) -> Vec<String> {
        let path = self.dir.path().join("log");
        let text = fs::read_to_string(&path).unwrap_or_default();
        let _ = fs::remove_file(path);
        text.lines().map(|line| line.trim().to_owned()).collect()
    }

    /// The config of the last call.
    pub fn stdin(&self, plugin: &str, verb: &str) -> Value {
        serde_json::from_str(&self.stdin_text(plugin, verb)).unwrap()
    }

    pub fn stdin_text(&self, plugin: &str, verb: &str) -> String {
        fs::read_to_string(self.dir.path().join(format!("{plugin}.{verb}.stdin"))).unwrap()
    }

    /// The `CNI_` variables of the last call, sorted.
    pub fn env(&self, plugin: &str, verb: &str) -> Vec<String> {
        let text = fs::read_to_string(self.dir.path().join(format!("{plugin}.{verb}.env"))).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    pub fn cache_file(&self, name: &str) -> PathBuf {
        self.dir.path().join("cache/results").join(name)
    }
}

/// A list of the three plugins, with more keys.
pub fn list(version: &str, more: Value) -> NetworkList {
    let mut list = json!({"cniVersion": version, "name": "net", "plugins": [
        {"type": "one", "capabilities": {"ips": true, "mac": false}, "vendor": {"z": 1, "a": null}},
        {"type": "two", "capabilities": {"portMappings": true}},
        {"type": "three", "name": "overwritten"},
    ]});
    list.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    NetworkList::from_bytes(list.to_string().into_bytes()).unwrap()
}

pub fn pod(container_id: &str) -> RuntimeConf {
    RuntimeConf::new(container_id, "eth0", Some(format!("/run/netns/{container_id}").into()))
}
