//! All plugins in one program: called `bridge`, it is the bridge plugin, and so on; called by any other name, it is the
//! operator's tool. Plugins that are names of this one file call each other without starting a process.

mod addresses;
mod command;
mod doctor;
mod gc;
mod install;
mod leaks;
mod map;
mod marker;
mod metrics;
mod place;
mod plugins;
mod same;
mod survey;
mod uninstall;

use std::path::Path;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

fn main() -> ExitCode {
    let called = std::env::args_os().next().unwrap_or_default();
    let name = Path::new(&called).file_name().unwrap_or_default().to_string_lossy();
    match plugins::named(&name) {
        Some(plugin) => cni::run_among(plugin, plugins::named),
        None => command::run(lexopt::Parser::from_env()),
    }
}
