//! What is being measured right now, on stderr.

use std::io::{IsTerminal, Write, stderr};

/// Says that `case` is at `round` of `rounds`: on a terminal in one line that changes, in a log once for each case.
pub fn show(case: &str, round: usize, rounds: usize) {
    if stderr().is_terminal() {
        let end = if round == rounds { "\n" } else { "" };
        eprint!("\r\x1b[K{case}: {round}/{rounds}{end}");
        let _ = stderr().flush();
    } else if round == 1 {
        eprintln!("{case}: {rounds} rounds");
    }
}

/// Says what is being prepared.
pub fn preparing(what: &str) {
    if stderr().is_terminal() {
        eprint!("\r\x1b[K{what} ...");
        let _ = stderr().flush();
    }
}
