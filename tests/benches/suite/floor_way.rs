//! The floor program (benches/floor) in place of a plugin.

use std::net::Ipv4Addr;
use std::process::Command;

use podlink_tests::{Node, Pod};

use crate::timed;
use crate::way::{Timed, Way};

const PROGRAM: &str = env!("CARGO_BIN_EXE_bench-floor");
const BRIDGE: &str = "cni0";
const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 1);

/// The bridge is made beforehand: a plugin makes it once for all pods.
#[derive(Debug)]
pub struct FloorWay;

impl FloorWay {
    pub fn new(node: &Node) -> FloorWay {
        node.sh(&["ip", "link", "add", BRIDGE, "type", "bridge"]);
        node.sh(&["ip", "addr", "add", &format!("{GATEWAY}/16"), "dev", BRIDGE]);
        node.sh(&["ip", "link", "set", BRIDGE, "up"]);
        FloorWay
    }
}

/// The node's end of the pod's pair.
fn host_name(pod: &Pod) -> String {
    format!("fl-{}", pod.id().container_id.trim_start_matches("pod-"))
}

impl Way for FloorWay {
    fn attach(&mut self, node: &Node, pod: &Pod, number: u16) -> Timed {
        let address = Ipv4Addr::from_bits(GATEWAY.to_bits() + 1 + u32::from(number));
        let mut command = Command::new(PROGRAM);
        command.args(["ADD", BRIDGE, &host_name(pod)]).arg(&pod.id().netns);
        command.args([format!("{address}/16"), GATEWAY.to_string()]);
        timed::command(node, command, b"").map(|(taken, _)| taken)
    }

    fn check(&mut self, _: &Node, _: &Pod) -> Option<Timed> {
        None
    }

    fn network_verbs(&mut self, _: &Node, _: &[Pod]) -> Vec<(&'static str, Timed)> {
        Vec::new()
    }

    fn detach(&mut self, node: &Node, pod: &Pod) -> Timed {
        let mut command = Command::new(PROGRAM);
        command.args(["DEL", &host_name(pod)]);
        timed::command(node, command, b"").map(|(taken, _)| taken)
    }
}
