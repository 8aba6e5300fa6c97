//! A whole chain of plugins, run as a container runtime runs it (crates/runtime), its cached results included.

use std::time::Instant;

use podlink_tests::{BinDir, Node, Pod};
use runtime::{NetworkList, Runtime, RuntimeConf};
use serde_json::{Map, Value, json};

use crate::row::Side;
use crate::way::{Timed, Way};

/// Where the runtime keeps results, on each node.
const CACHE: &str = "/var/lib/cni";

/// The networks of a pod in the order they are attached, each with the interface's name.
#[derive(Debug)]
pub struct ChainWay {
    runtime: Runtime,
    networks: Vec<(NetworkList, &'static str)>,
    ports: Vec<(String, u16)>,
}

impl ChainWay {
    /// containerd and the kubelet's runtimes attach `lo` first, where `loopback`.
    pub fn new(side: Side, conflist: &Value, loopback: bool) -> ChainWay {
        let bins = if side == Side::Ours { BinDir::ours() } else { BinDir::reference() };
        let lo = json!({ "cniVersion": "1.0.0", "name": "cni-loopback", "plugins": [{ "type": "loopback" }] });
        let lo = loopback.then_some((&lo, "lo"));
        let read = |list: &Value| NetworkList::from_bytes(list.to_string().into_bytes());
        let networks = lo.into_iter().chain([(conflist, "eth0")]);
        let networks = networks.map(|(list, ifname)| (read(list).unwrap_or_else(|e| panic!("{e}: {list}")), ifname));
        ChainWay { networks: networks.collect(), runtime: Runtime::new(vec![bins.path().into()], CACHE), ports: vec![] }
    }

    fn timed(
        &self,
        node: &Node,
        pod: &Pod,
        backwards: bool,
        verb: impl Fn(&Runtime, &NetworkList, &RuntimeConf) -> Result<(), runtime::Error> + Sync,
    ) -> Timed {
        let id = pod.id();
        let port = self.ports.iter().find(|(of, _)| *of == id.container_id).map_or(0, |(_, port)| *port);
        let mapping = json!([{ "hostPort": port, "containerPort": 80, "protocol": "tcp" }]);
        let calls = self.networks.iter().map(|(list, ifname)| {
            let mut conf = RuntimeConf::new(&id.container_id, *ifname, Some(id.netns.clone()));
            conf.capability_args = Map::from_iter([("portMappings".to_owned(), mapping.clone())]);
            (list, conf)
        });
        let mut calls: Vec<_> = calls.collect();
        if backwards {
            calls.reverse();
        }
        node.run(|| {
            let start = Instant::now();
            calls.iter().try_for_each(|(list, conf)| verb(&self.runtime, list, conf)).map_err(|e| e.to_string())?;
            Ok(start.elapsed())
        })
    }
}

impl Way for ChainWay {
    fn attach(&mut self, node: &Node, pod: &Pod, number: u16) -> Timed {
        self.ports.push((pod.id().container_id.clone(), 10_000 + number));
        self.timed(node, pod, false, |runtime, list, conf| runtime.add(list, conf).map(drop))
    }

    fn check(&mut self, node: &Node, pod: &Pod) -> Option<Timed> {
        Some(self.timed(node, pod, false, |runtime, list, conf| runtime.check(list, conf)))
    }

    fn network_verbs(&mut self, _: &Node, _: &[Pod]) -> Vec<(&'static str, Timed)> {
        Vec::new()
    }

    fn detach(&mut self, node: &Node, pod: &Pod) -> Timed {
        let taken = self.timed(node, pod, true, |runtime, list, conf| runtime.del(list, conf))?;
        self.ports.retain(|(of, _)| *of != pod.id().container_id);
        Ok(taken)
    }
}
