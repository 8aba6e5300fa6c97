//! The test cases that need a kernel with bridge VLAN filtering. tests/uml.rs starts this inside user-mode-linux; on a
//! machine whose kernel has it, it can be run directly.
//!
//! usage: uml-scenario run (every case) | reference (the cases that Debian's reference 1.1.1 can pass)

mod vlan;

use podlink_tests::{BinDir, scenario};

fn main() {
    let bins = BinDir::ours();
    match std::env::args().nth(1).as_deref() {
        Some("run") => scenario::run(&vlan::cases(false), &bins),
        Some("reference") => scenario::run(&vlan::cases(true), &bins),
        _ => {
            eprintln!("usage: uml-scenario run|reference");
            std::process::exit(2);
        }
    }
}
