//! Test cases that run inside another machine: each one's verdict comes back as a line of JSON.

use std::panic::{AssertUnwindSafe, catch_unwind};

use serde_json::{Value, json};

use crate::BinDir;

/// One test case. Its body panics when the case fails.
pub struct Case {
    /// What must hold, in words; unique among the cases of one run.
    pub name: String,
    /// Makes its own node and runs plugins of the given directory on it.
    pub body: Box<dyn Fn(&BinDir)>,
}

/// What became of a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The case.
    pub name: String,
    /// The panic's message when it failed.
    pub failure: Option<String>,
}

/// Runs the cases one after the other and prints a line for each.
pub fn run(cases: &[Case], bins: &BinDir) {
    for case in cases {
        let outcome = catch_unwind(AssertUnwindSafe(|| (case.body)(bins)));
        let failure = outcome.err().map(|panic| match panic.downcast::<String>() {
            Ok(text) => *text,
            Err(panic) => panic.downcast_ref::<&str>().map_or("a panic without a text", |t| t).to_owned(),
        });
        println!("{}", json!({ "case": case.name, "failure": failure }));
    }
}

/// Reads the lines that [`run`] printed. Panics on any other line.
pub fn read(output: &str) -> Vec<Verdict> {
    let verdict = |line: &str| -> Option<Verdict> {
        let line: Value = serde_json::from_str(line).ok()?;
        Some(Verdict { name: line["case"].as_str()?.to_owned(), failure: line["failure"].as_str().map(str::to_owned) })
    };
    output.lines().map(|line| verdict(line).unwrap_or_else(|| panic!("not a verdict: {line:?}"))).collect()
}
