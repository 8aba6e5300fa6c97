//! One plugin, called by itself. One that needs an interface gets it from bridge, which is not timed.

use podlink_tests::{BinDir, Call, Node, Pod};
use serde_json::{Value, json};

use crate::row::Side;
use crate::timed;
use crate::way::{Timed, Way};

/// The plugin, and what it was told and said.
#[derive(Debug)]
pub struct PluginWay {
    bins: BinDir,
    plugin: &'static str,
    config: Value,
    /// The network that the pod is in before.
    base: Option<Value>,
    base_result: Value,
    result: Value,
    /// The reference's release has neither GC nor STATUS.
    has_network_verbs: bool,
}

impl PluginWay {
    /// `config` is what stands in the file, of type `plugin`; `base` the bridge network below it.
    pub fn new(side: Side, plugin: &'static str, config: Value, base: Option<Value>) -> PluginWay {
        let bins = if side == Side::Ours { BinDir::ours() } else { BinDir::reference() };
        let has_network_verbs = side == Side::Ours && base.is_none();
        PluginWay { bins, plugin, config, base, base_result: Value::Null, result: Value::Null, has_network_verbs }
    }

    /// The call of a verb for the pod, with the result that a runtime would pass on.
    pub fn call<'node>(&self, node: &'node Node, pod: &Pod, verb: &str) -> Call<'node> {
        let call = node.plugin(&self.bins, self.plugin).pod(pod).config(&self.config);
        let call = if self.plugin == "loopback" { call.ifname("lo") } else { call };
        match (verb, &self.base_result, &self.result) {
            ("ADD", Value::Null, _) | (_, _, Value::Null) => call,
            ("ADD", base, _) => call.prev_result(base),
            (_, _, result) => call.prev_result(result),
        }
    }

    /// Attaches the pod to the network below.
    pub fn attach_base(&mut self, node: &Node, pod: &Pod) -> Result<(), String> {
        self.result = Value::Null;
        if let Some(base) = &self.base {
            let call = node.plugin(&self.bins, "bridge").pod(pod).config(base);
            self.base_result = timed::call(node, &call, "ADD")?.1;
            self.result = self.base_result.clone();
        }
        Ok(())
    }

    /// Detaches it again.
    pub fn detach_base(&mut self, node: &Node, pod: &Pod) -> Result<(), String> {
        let Some(base) = &self.base else { return Ok(()) };
        let call = node.plugin(&self.bins, "bridge").pod(pod).config(base);
        timed::call(node, &call, "DEL").map(drop)
    }

    /// The result of an ADD that was run otherwise.
    pub fn set_result(&mut self, result: Value) {
        self.result = result;
    }
}

impl Way for PluginWay {
    fn attach(&mut self, node: &Node, pod: &Pod, _: u16) -> Timed {
        self.attach_base(node, pod)?;
        let (taken, result) = timed::call(node, &self.call(node, pod, "ADD"), "ADD")?;
        self.result = result;
        Ok(taken)
    }

    fn check(&mut self, node: &Node, pod: &Pod) -> Option<Timed> {
        Some(timed::call(node, &self.call(node, pod, "CHECK"), "CHECK").map(|(taken, _)| taken))
    }

    fn network_verbs(&mut self, node: &Node, standing: &[Pod]) -> Vec<(&'static str, Timed)> {
        if !self.has_network_verbs {
            return Vec::new();
        }
        let mut config = self.config.clone();
        config["cniVersion"] = "1.1.0".into();
        let timed = |config: &Value, verb: &str| {
            let call = node.plugin(&self.bins, self.plugin).config(config);
            timed::call(node, &call, verb).map(|(taken, _)| taken)
        };
        let status = timed(&config, "STATUS");
        // host-local's addresses stand without pods, and GC would take them away.
        if self.plugin == "host-local" {
            return vec![("STATUS", status)];
        }
        let valid = standing.iter().map(|pod| json!({ "containerID": pod.id().container_id, "ifname": "eth0" }));
        config["cni.dev/valid-attachments"] = valid.collect();
        vec![("STATUS", status), ("GC", timed(&config, "GC"))]
    }

    fn detach(&mut self, node: &Node, pod: &Pod) -> Timed {
        let (taken, _) = timed::call(node, &self.call(node, pod, "DEL"), "DEL")?;
        self.detach_base(node, pod)?;
        Ok(taken)
    }
}
