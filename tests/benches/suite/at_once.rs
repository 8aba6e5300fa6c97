//! A hundred pods added at once, and deleted at once: the wall clock from the first process's start to the last one's end.

use std::io::Write;
use std::process::{Child, Stdio};
use std::time::Instant;

use podlink_tests::{Node, Pod};

use crate::cases::{self, What};
use crate::options::Options;
use crate::plugin_way::PluginWay;
use crate::progress;
use crate::row::{Measure, Rows, Side};
use crate::settle;

const PODS: usize = 100;

/// Measures the plain bridge and the masquerading one.
pub fn measure(options: &Options, rows: &mut Rows) {
    let of_bridge = |case: &cases::Case| matches!(case.what, What::Plugin { plugin: "bridge", .. });
    for case in
        cases::all().iter().filter(|case| of_bridge(case) && ["bridge plain", "bridge ipMasq"].contains(&case.name))
    {
        let name = format!("{} {PODS} at once", case.name);
        if !options.wants(&name, false) {
            continue;
        }
        let rounds = options.rounds(5);
        let mut detached: Vec<Pod> = Vec::new();
        let mut sides: Vec<_> = [Side::Ours, Side::Reference]
            .into_iter()
            .filter_map(|side| Some((side, Node::new(), case.plugin(side)?)))
            .collect();
        for round in 0..=rounds {
            progress::show(&name, round.max(1), rounds);
            sides.reverse();
            for (side, node, plugin) in &sides {
                let pods: Vec<Pod> = (0..PODS).map(|number| node.pod(&format!("{round}-{number}"))).collect();
                for verb in ["ADD", "DEL"] {
                    let taken = all_at_once(node, plugin, &pods, verb);
                    // The first one made the bridge.
                    if round > 0 {
                        rows.add(&name, verb, Measure::Time, *side, taken);
                    }
                }
                detached.extend(pods);
            }
        }
        settle::after((sides, detached));
    }
}

/// In milliseconds.
fn all_at_once(node: &Node, plugin: &PluginWay, pods: &[Pod], verb: &str) -> f64 {
    let mut calls: Vec<_> = pods
        .iter()
        .map(|pod| {
            let call = plugin.call(node, pod, verb);
            let mut command = call.command(verb);
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
            (command, call.input().to_vec())
        })
        .collect();
    let failed = |e: std::io::Error| -> ! { panic!("{verb} of {PODS} at once: {e}") };
    node.run(|| {
        let start = Instant::now();
        let running: Vec<Child> = calls
            .iter_mut()
            .map(|(command, input)| {
                let mut child = command.spawn().unwrap_or_else(|e| failed(e));
                let pipe = child.stdin.take();
                pipe.map_or(Ok(()), |mut pipe| pipe.write_all(input)).unwrap_or_else(|e| failed(e));
                child
            })
            .collect();
        for child in running {
            let output = child.wait_with_output().unwrap_or_else(|e| failed(e));
            assert!(output.status.success(), "{verb} of {PODS} at once: {}", String::from_utf8_lossy(&output.stdout));
        }
        start.elapsed().as_secs_f64() * 1e3
    })
}
