//! What each call costs beside time, and what the plugins take on disk.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;

use podlink_tests::{BinDir, Node};

use crate::cases::{self, Case};
use crate::census;
use crate::options::Options;
use crate::progress;
use crate::row::{Measure, Rows, Side};

/// Where the largest of all calls stands.
const ANY_CALL: &str = "memory of any call";

/// Measures the costs of the single plugins' calls, and the size of both suites.
pub fn measure(options: &Options, rows: &mut Rows) {
    if options.wants("memory", true) {
        let mut largest = [Side::Ours, Side::Reference].map(|side| (side, 0.0_f64));
        for (number, case) in cases::all().iter().enumerate() {
            progress::show("memory, processes, system calls", number + 1, cases::all().len());
            for (side, most) in &mut largest {
                *most = most.max(of_case(case, *side, rows));
            }
        }
        for (side, most) in largest {
            rows.add(ANY_CALL, "", Measure::Size, side, most);
        }
    }
    if options.wants("size on disk", true) {
        rows.add("size on disk", "", Measure::Size, Side::Ours, on_disk(&BinDir::ours()));
        rows.add("size on disk", "", Measure::Size, Side::Reference, on_disk(&BinDir::reference()));
    }
}

/// The memory of its largest call.
fn of_case(case: &Case, side: Side, rows: &mut Rows) -> f64 {
    let Some(mut plugin) = case.plugin(side) else { return 0.0 };
    let mut largest = 0.0_f64;
    let node = Node::new();
    // The first pod makes the bridge and the tables, as on any node but a new one.
    for pod in ["first", "second"].map(|name| node.pod(name)) {
        plugin.attach_base(&node, &pod).unwrap_or_else(|e| panic!("{}: {e}", case.name));
        for verb in ["ADD", "CHECK", "DEL"] {
            let call = plugin.call(&node, &pod, verb);
            let census = match census::take(&node, &call.command(verb), call.input()) {
                Ok(census) => census,
                Err(_) if verb == "CHECK" => continue,
                Err(said) => panic!("{}: {verb} of the {}: {said}", case.name, side.name()),
            };
            if verb == "ADD" {
                plugin.set_result(serde_json::from_slice(&census.stdout).unwrap_or_default());
            }
            let memory = census.memory_kib as f64 / 1024.0;
            largest = largest.max(memory);
            if pod.id().container_id == "pod-second" {
                rows.add(&format!("{} memory", case.name), verb, Measure::Size, side, memory);
                rows.add(&format!("{} processes", case.name), verb, Measure::Count, side, census.processes as f64);
                rows.add(&format!("{} system calls", case.name), verb, Measure::Count, side, census.calls as f64);
            }
        }
        plugin.detach_base(&node, &pod).unwrap_or_else(|e| panic!("{}: {e}", case.name));
    }
    largest
}

/// The sizes of a directory's files in MiB, each once under however many names.
fn on_disk(bins: &BinDir) -> f64 {
    let failed = |e: std::io::Error| -> ! { panic!("{}: {e}", bins.path().display()) };
    let entries = std::fs::read_dir(bins.path()).unwrap_or_else(|e| failed(e)).flatten();
    let files = entries.map(|entry| std::fs::metadata(entry.path()).unwrap_or_else(|e| failed(e)));
    let files: BTreeMap<u64, u64> = files.filter(|file| file.is_file()).map(|file| (file.ino(), file.len())).collect();
    files.values().sum::<u64>() as f64 / f64::from(1 << 20)
}
