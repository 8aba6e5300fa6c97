//! The paired cases: what is attached, and how many pods are on the node already.

use podlink_tests::example;
use serde_json::{Value, json};

use crate::chain_way::ChainWay;
use crate::floor_way::FloorWay;
use crate::options::Options;
use crate::pairs::{self, Subject};
use crate::plugin_way::PluginWay;
use crate::row::{Rows, Side};
use crate::way::Way;

/// What a case attaches a pod to.
#[derive(Debug, Clone)]
pub enum What {
    /// One plugin, with its configuration, on top of plain bridge or not.
    Plugin { plugin: &'static str, ours: Value, reference: Value, on_bridge: bool },
    /// A conflist, after loopback or not.
    Chain { conflist: Value, loopback: bool },
}

/// One line of the list.
#[derive(Debug, Clone)]
pub struct Case {
    pub name: &'static str,
    pub what: What,
    /// How many other pods are on the node: the case is run with each.
    pods: &'static [u16],
    quick: bool,
    floor: bool,
}

const SUBNET: &str = "10.1.0.0/16";

/// A bridge network with a gateway and a default route.
fn bridge(keys: Value) -> Value {
    let base = json!({
        "cniVersion": "1.0.0", "name": "net", "type": "bridge", "bridge": "cni0", "isGateway": true,
        "ipam": { "type": "host-local", "subnet": SUBNET, "routes": [{ "dst": "0.0.0.0/0" }] },
    });
    podlink_tests::conf::with(base, keys)
}

fn other(plugin: &str, keys: Value) -> Value {
    podlink_tests::conf::with(json!({ "cniVersion": "1.0.0", "name": "net", "type": plugin }), keys)
}

fn dual_stack() -> Value {
    let ranges = json!([[{ "subnet": SUBNET }], [{ "subnet": "fd00:1::/64" }]]);
    let routes = json!([{ "dst": "0.0.0.0/0" }, { "dst": "::/0" }]);
    bridge(json!({ "ipam": { "type": "host-local", "ranges": ranges, "routes": routes } }))
}

/// What containerd's set-up script writes, with one address family.
pub fn containerd_chain() -> Value {
    let portmap = json!({ "type": "portmap", "capabilities": { "portMappings": true } });
    json!({ "cniVersion": "1.0.0", "name": "net", "plugins": [bridge(json!({ "ipMasq": true })), portmap] })
}

fn example(file: &str) -> Value {
    let path = example::dir().join(file);
    let text = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_slice(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// All of them.
pub fn all() -> Vec<Case> {
    let single = |name, plugin, ours: Value, reference: Value| Case {
        name,
        what: What::Plugin { plugin, ours, reference, on_bridge: !matches!(plugin, "bridge" | "loopback") },
        pods: &[0],
        quick: false,
        floor: plugin == "bridge",
    };
    let same = |name, plugin, config: Value| single(name, plugin, config.clone(), config);
    let chain = |name, conflist, loopback| Case {
        name,
        what: What::Chain { conflist, loopback },
        pods: &[0],
        quick: false,
        floor: false,
    };
    let quick = |case: Case| Case { quick: true, ..case };
    let crowded = |case: Case| Case { pods: &[0, 100, 500], ..case };
    let masquerade = bridge(json!({ "ipMasq": true }));
    let iptables = bridge(json!({ "ipMasq": true, "ipMasqBackend": "iptables" }));
    let port = json!({ "portMappings": [{ "hostPort": 8080, "containerPort": 80, "protocol": "tcp" }] });
    let limits = json!({ "ingressRate": 100_000_000, "ingressBurst": 1_000_000, "egressRate": 100_000_000, "egressBurst": 1_000_000 });
    vec![
        quick(crowded(same("bridge plain", "bridge", bridge(json!({}))))),
        same("bridge dual stack", "bridge", dual_stack()),
        quick(crowded(same("bridge ipMasq", "bridge", masquerade.clone()))),
        single("bridge ipMasq by iptables", "bridge", iptables, masquerade),
        same("loopback", "loopback", other("loopback", json!({}))),
        quick(same("portmap", "portmap", other("portmap", json!({ "runtimeConfig": port })))),
        same("firewall", "firewall", other("firewall", json!({}))),
        same("bandwidth", "bandwidth", other("bandwidth", limits)),
        quick(crowded(chain("containerd chain", containerd_chain(), true))),
        chain("containerd chain dual stack", example("10-containerd.conflist"), true),
        chain("nerdctl chain", example("60-nerdctl.conflist"), false),
    ]
}

impl Case {
    /// The plugin of one side; `None` for a chain.
    pub fn plugin(&self, side: Side) -> Option<PluginWay> {
        let What::Plugin { plugin, ours, reference, on_bridge } = &self.what else { return None };
        let config = if side == Side::Ours { ours } else { reference };
        Some(PluginWay::new(side, plugin, config.clone(), on_bridge.then(|| bridge(json!({})))))
    }

    fn way(&self, side: Side) -> Box<dyn Way> {
        match (&self.what, self.plugin(side)) {
            (What::Chain { conflist, loopback }, _) => Box::new(ChainWay::new(side, conflist, *loopback)),
            (_, Some(plugin)) => Box::new(plugin),
            (What::Plugin { .. }, None) => unreachable!("a plugin's case has a plugin"),
        }
    }

    /// The name with the pods on the node.
    fn with_pods(&self, pods: u16) -> String {
        if pods == 0 { self.name.to_owned() } else { format!("{}, {pods} pods", self.name) }
    }
}

/// Measures those that are wanted. The crowded ones come last: what they leave keeps the kernel busy for a while.
pub fn measure(options: &Options, rows: &mut Rows) {
    let cases = all();
    let mut wanted: Vec<(&Case, u16)> = cases.iter().flat_map(|c| c.pods.iter().map(move |pods| (c, *pods))).collect();
    wanted.retain(|(case, pods)| options.wants(&case.with_pods(*pods), case.quick && *pods == 0));
    wanted.sort_by_key(|(_, pods)| *pods);
    for (case, pods) in wanted {
        let sides = [Side::Ours, Side::Reference].into_iter();
        let mut subjects: Vec<Subject> = sides.map(|side| Subject::new(side, |_| case.way(side))).collect();
        if case.floor {
            subjects.push(Subject::new(Side::Floor, |node| Box::new(FloorWay::new(node))));
        }
        let rounds = options.rounds(if pods > 100 { 20 } else { usize::MAX });
        pairs::measure(&case.with_pods(pods), subjects, pods, rounds, rows);
    }
}
