//! Real pods through containerd's CRI, with ours and with the reference's plugins in its `bin_dir`.

use std::time::Instant;

use podlink_tests::containerd::Containerd;
use podlink_tests::cri::{Cri, PodSandboxConfig, PortMapping};
use podlink_tests::{BinDir, Node};

use crate::cases;
use crate::options::Options;
use crate::progress;
use crate::row::{Measure, Rows, Side};

/// Pods one after the other, and this many at a time.
const SEQUENTIAL: &str = "containerd pods one by one";
const PARALLEL: &str = "containerd pods 8 at once";
const AT_ONCE: i32 = 8;
/// What a pod's time is of: sandbox run, stopped and removed.
pub const VERB: &str = "run+stop+remove";

/// Measures whole pods; a sample is the time for each pod.
pub fn measure(options: &Options, rows: &mut Rows) {
    let wanted: Vec<_> = [(SEQUENTIAL, 1, 20), (PARALLEL, AT_ONCE, 5)]
        .into_iter()
        .filter(|(case, ..)| options.wants(case, false))
        .collect();
    if wanted.is_empty() {
        return;
    }
    progress::preparing("containerd");
    let nodes =
        [(Side::Ours, BinDir::ours()), (Side::Reference, BinDir::reference())].map(|(s, b)| (s, b, Node::new()));
    let mut daemons: Vec<_> = nodes
        .iter()
        .map(|(side, bins, node)| (*side, Containerd::start(node, bins, &cases::containerd_chain())))
        .collect();
    for (case, pods, most) in wanted {
        let rounds = options.rounds(most);
        for round in 0..=rounds {
            progress::show(case, round.max(1), rounds);
            daemons.reverse();
            for (side, daemon) in &daemons {
                let start = Instant::now();
                std::thread::scope(|scope| {
                    for number in 0..pods {
                        scope.spawn(move || one_pod(daemon, &format!("p{round}-{number}"), number));
                    }
                });
                if round > 0 {
                    let each = start.elapsed().as_secs_f64() * 1e3 / f64::from(pods);
                    rows.add(case, VERB, Measure::Time, *side, each);
                }
            }
        }
    }
}

fn one_pod(daemon: &Containerd, name: &str, number: i32) {
    let mut config = PodSandboxConfig::new(name, &daemon.jail().cgroup());
    config.port_mappings =
        vec![PortMapping { protocol: 0, container_port: 80, host_port: 8080 + number, host_ip: String::new() }];
    let lifetime = |cri: &Cri| {
        let id = cri.run_pod_sandbox(&config)?;
        cri.stop_pod_sandbox(&id)?;
        cri.remove_pod_sandbox(&id)
    };
    lifetime(daemon.cri()).unwrap_or_else(|e| panic!("pod {name}: {e}"));
}
