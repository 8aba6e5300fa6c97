//! One call of a plugin, as a runtime makes it: environment, stdin, and what came back.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::process::Finished;
use crate::{BinDir, Node, PodId};

/// A plugin call being put together. Made by [`Node::plugin`].
///
/// Starts with `CNI_PATH` set to the plugin's own directory and nothing else of the CNI variables.
#[derive(Debug, Clone)]
pub struct Call<'node> {
    node: &'node Node,
    binary: PathBuf,
    env: BTreeMap<String, OsString>,
    stdin: Vec<u8>,
}

impl<'node> Call<'node> {
    pub(crate) fn new(node: &'node Node, bins: &BinDir, plugin: &str) -> Self {
        let env = BTreeMap::from([("CNI_PATH".to_owned(), bins.path().into())]);
        Self { node, binary: bins.plugin(plugin), env, stdin: Vec::new() }
    }

    /// Sets `CNI_CONTAINERID` and `CNI_NETNS` from the pod, and `CNI_IFNAME` to `eth0` when it has no value yet.
    pub fn pod(mut self, pod: &impl AsRef<PodId>) -> Self {
        let id = pod.as_ref();
        self.env.entry("CNI_IFNAME".to_owned()).or_insert_with(|| "eth0".into());
        self.env("CNI_CONTAINERID", &id.container_id).env("CNI_NETNS", &id.netns)
    }

    /// Sets `CNI_IFNAME`.
    pub fn ifname(self, name: &str) -> Self {
        self.env("CNI_IFNAME", name)
    }

    /// Sets `CNI_ARGS`, for instance `IgnoreUnknown=1;IP=10.1.0.7`.
    pub fn args(self, args: &str) -> Self {
        self.env("CNI_ARGS", args)
    }

    /// Sets any variable.
    pub fn env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.env.insert(name.to_owned(), value.into());
        self
    }

    /// Takes a variable away.
    pub fn without(mut self, name: &str) -> Self {
        self.env.remove(name);
        self
    }

    /// The network configuration on stdin.
    pub fn config(self, config: &Value) -> Self {
        let text = config.to_string();
        self.stdin(text)
    }

    /// Any bytes on stdin.
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = bytes.into();
        self
    }

    /// Adds `prevResult` to the configuration given before. Panics when that is not a JSON object.
    pub fn prev_result(self, result: &Value) -> Self {
        let mut config: Value =
            serde_json::from_slice(&self.stdin).unwrap_or_else(|e| panic!("prev_result needs a config first: {e}"));
        config["prevResult"] = result.clone();
        self.config(&config)
    }

    /// The call with the verb `ADD`, run to its end.
    #[track_caller]
    pub fn add(&self) -> Output {
        self.run("ADD")
    }

    /// The call with the verb `CHECK`, run to its end. The caller gives the `prevResult`.
    #[track_caller]
    pub fn check(&self) -> Output {
        self.run("CHECK")
    }

    /// The call with the verb `DEL`, run to its end.
    #[track_caller]
    pub fn del(&self) -> Output {
        self.run("DEL")
    }

    /// The call with any verb (`GC`, `STATUS`, `VERSION`, or a wrong one), run to its end.
    #[track_caller]
    pub fn run(&self, verb: &str) -> Output {
        Output { finished: self.node.finish(&mut self.command(verb), &self.stdin) }
    }

    /// The command by itself, for a test that starts, traces or kills the process in its own way.
    ///
    /// Spawn it inside [`Node`]'s `run`, and write [`Call::input`] to its stdin.
    pub fn command(&self, verb: &str) -> Command {
        let mut command = Command::new(&self.binary);
        // Nothing of the machine's environment but PATH: a runtime does not pass its own on, either.
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("CNI_COMMAND", verb).envs(&self.env);
        command
    }

    /// The node it runs on.
    pub(crate) fn node(&self) -> &'node Node {
        self.node
    }

    /// The bytes for stdin.
    pub fn input(&self) -> &[u8] {
        &self.stdin
    }
}

/// What a plugin answered.
#[derive(Debug, Clone)]
pub struct Output {
    finished: Finished,
}

/// A CNI error, as the plugin printed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CniError {
    /// The specification's or the plugin's code.
    pub code: u64,
    /// `msg` and `details`, one per line.
    pub text: String,
}

impl Output {
    /// The answer of a plugin that was run in another way than by a [`Call`].
    pub fn of(finished: Finished) -> Self {
        Self { finished }
    }

    /// Exit status; `None` when a signal ended the plugin.
    pub fn code(&self) -> Option<i32> {
        self.finished.code
    }

    /// What it wrote to stderr.
    pub fn stderr(&self) -> &str {
        &self.finished.stderr
    }

    /// What it wrote to stdout.
    pub fn stdout(&self) -> &str {
        &self.finished.stdout
    }

    /// The JSON result of a call that must have succeeded; `Null` when it printed nothing, as CHECK and DEL do.
    #[track_caller]
    pub fn success(&self) -> Value {
        assert!(self.code() == Some(0), "the plugin must succeed: {}", self.finished);
        if self.stdout().trim().is_empty() {
            return Value::Null;
        }
        serde_json::from_str(self.stdout()).unwrap_or_else(|e| panic!("stdout is not JSON ({e}): {}", self.finished))
    }

    /// The error of a call that must have failed. Panics unless it printed a complete CNI error.
    #[track_caller]
    pub fn failure(&self) -> CniError {
        assert!(self.code().is_some_and(|c| c != 0), "the plugin must fail: {}", self.finished);
        let error: Value = serde_json::from_str(self.stdout())
            .unwrap_or_else(|e| panic!("stdout is not a CNI error ({e}): {}", self.finished));
        let text = |key: &str| error[key].as_str().unwrap_or_default().to_owned();
        let code = error["code"].as_u64();
        assert!(code.is_some() && !text("msg").is_empty(), "a CNI error needs a code and a msg: {}", self.finished);
        CniError { code: code.unwrap_or_default(), text: format!("{}\n{}", text("msg"), text("details")) }
    }
}
