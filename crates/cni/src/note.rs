//! Lines for people in the runtime's log.

use std::fmt::Display;
use std::io::Write;

/// Writes a line to stderr, which runtimes log.
///
/// Unlike `eprintln!` it does not panic when nobody reads, which would turn a finished ADD into a failed one.
pub fn note(text: impl Display) {
    let _ = std::io::stderr().write_all(format!("podlink: {text}\n").as_bytes());
}
