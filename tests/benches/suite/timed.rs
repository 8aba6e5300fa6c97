//! One call as a runtime waits for it: from the start of the process to its end.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use podlink_tests::{Call, Node};
use serde_json::Value;

/// Runs the call and returns how long it took and its result, or what it said instead of succeeding.
pub fn call(node: &Node, call: &Call<'_>, verb: &str) -> Result<(Duration, Value), String> {
    let (taken, stdout) = command(node, call.command(verb), call.input())?;
    let result = if stdout.is_empty() { Value::Null } else { serde_json::from_slice(&stdout).unwrap_or_default() };
    Ok((taken, result))
}

/// Runs any command with `stdin` on the node.
pub fn command(node: &Node, mut command: Command, stdin: &[u8]) -> Result<(Duration, Vec<u8>), String> {
    let said = |e: std::io::Error| e.to_string();
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    node.run(|| {
        let start = Instant::now();
        let mut child = command.spawn().map_err(said)?;
        let written = child.stdin.take().map_or(Ok(()), |mut pipe| pipe.write_all(stdin));
        let output = child.wait_with_output().map_err(said)?;
        let taken = start.elapsed();
        if !output.status.success() {
            return Err([output.stdout, output.stderr]
                .map(|text| String::from_utf8_lossy(&text).into_owned())
                .concat());
        }
        written.map_err(said)?;
        Ok((taken, output.stdout))
    })
}
