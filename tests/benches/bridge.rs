//! The bridge plugin against the Go reference: ADD and DEL of a gateway network with host-local addresses, without and
//! with masquerading (ours in nf_tables, the reference's in iptables).
//!
//! Run by scripts/bench.sh. Each round times both implementations, the one after the other in turns, so that what
//! else the machine does hits both; ratios of medians are what counts, times differ from machine to machine.
//!
//! usage: bridge [--rounds N] [--at-most CASE:VERB=RATIO]...

use std::io::Write;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use podlink_tests::{BinDir, Node, Pod};
use serde_json::{Value, json};

/// Rounds that are run first and not counted: files and code are not in memory yet.
const WARM_UP: usize = 3;

struct Side {
    name: &'static str,
    bins: BinDir,
    config: Value,
    add: Vec<Duration>,
    del: Vec<Duration>,
}

impl Side {
    fn new(name: &'static str, bins: BinDir, subnet: &str, masquerade: bool) -> Side {
        let config = json!({
            "cniVersion": "1.0.0", "name": name, "type": "bridge", "bridge": name, "isGateway": true, "ipMasq": masquerade,
            "ipam": { "type": "host-local", "subnet": subnet, "routes": [{ "dst": "0.0.0.0/0" }] },
        });
        Side { name, bins, config, add: Vec::new(), del: Vec::new() }
    }

    fn round(&mut self, node: &Node, counted: bool) {
        let pod = node.pod(self.name);
        let add = self.time(node, &pod, "ADD");
        let del = self.time(node, &pod, "DEL");
        if counted {
            self.add.push(add);
            self.del.push(del);
        }
    }

    /// From the start of the process to its end, as a runtime waits for it.
    fn time(&self, node: &Node, pod: &Pod, verb: &str) -> Duration {
        let call = node.plugin(&self.bins, "bridge").pod(pod).config(&self.config);
        let mut command: Command = call.command(verb);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        node.run(|| {
            let start = Instant::now();
            let mut child = command.spawn().unwrap_or_else(|e| panic!("{} {verb}: {e}", self.name));
            let mut stdin = child.stdin.take().unwrap_or_else(|| panic!("no stdin"));
            stdin.write_all(call.input()).unwrap_or_else(|e| panic!("{} {verb}: {e}", self.name));
            drop(stdin);
            let output = child.wait_with_output().unwrap_or_else(|e| panic!("{} {verb}: {e}", self.name));
            let taken = start.elapsed();
            assert!(output.status.success(), "{} {verb}: {}", self.name, String::from_utf8_lossy(&output.stdout));
            taken
        })
    }
}

/// The value below which `share` of the times lie, in milliseconds.
fn quantile(times: &mut [Duration], share: f64) -> f64 {
    times.sort();
    let index = (times.len() as f64 * share) as usize;
    times[index.min(times.len() - 1)].as_secs_f64() * 1e3
}

fn main() -> ExitCode {
    let mut rounds = 100;
    let mut limits: Vec<(String, f64)> = Vec::new();
    // cargo bench adds --bench.
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    while let Some(argument) = arguments.next() {
        match (argument.as_str(), arguments.next()) {
            ("--rounds", Some(n)) => rounds = n.parse().unwrap_or_else(|e| panic!("--rounds {n}: {e}")),
            ("--at-most", Some(limit)) => {
                let (what, ratio) = limit.split_once('=').unwrap_or_else(|| panic!("--at-most wants CASE:VERB=RATIO"));
                limits.push((what.to_owned(), ratio.parse().unwrap_or_else(|e| panic!("--at-most {limit}: {e}"))));
            }
            _ => panic!("usage: bridge [--rounds N] [--at-most CASE:VERB=RATIO]..."),
        }
    }

    println!("bridge, isGateway, host-local; {rounds} rounds; median (quartiles) in ms\n");
    println!("| case | verb | podlink | reference | ratio |");
    println!("| --- | --- | --- | --- | --- |");
    let mut exceeded = false;
    for (case, masquerade) in [("plain", false), ("ipMasq", true)] {
        let (mut ours, mut reference) = measure(rounds, masquerade);
        for (verb, ours, reference) in
            [("ADD", &mut ours.add, &mut reference.add), ("DEL", &mut ours.del, &mut reference.del)]
        {
            let ratio = quantile(ours, 0.5) / quantile(reference, 0.5);
            println!("| {case} | {verb} | {} | {} | {ratio:.2} |", spread(ours), spread(reference));
            for (_, limit) in
                limits.iter().filter(|(what, at_most)| *what == format!("{case}:{verb}") && ratio > *at_most)
            {
                eprintln!("{case}:{verb}: the ratio {ratio:.2} is above {limit}");
                exceeded = true;
            }
        }
    }
    if exceeded { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn measure(rounds: usize, masquerade: bool) -> (Side, Side) {
    let node = Node::new();
    let mut ours = Side::new("ours", BinDir::ours(), "10.1.0.0/16", masquerade);
    let mut reference = Side::new("reference", BinDir::reference(), "10.2.0.0/16", masquerade);
    for round in 0..WARM_UP + rounds {
        let mut sides = [&mut ours, &mut reference];
        if round % 2 == 1 {
            sides.reverse();
        }
        sides.into_iter().for_each(|side| side.round(&node, round >= WARM_UP));
    }
    (ours, reference)
}

fn spread(times: &mut [Duration]) -> String {
    format!("{:.2} ({:.2}–{:.2})", quantile(times, 0.5), quantile(times, 0.25), quantile(times, 0.75))
}
