//! All plugins in one program: called `bridge`, it is the bridge plugin, and so on. Plugins that are names of this one
//! file call each other without starting a process.

use std::process::ExitCode;

use cni::Plugin;

const NAMES: [&str; 7] = ["bandwidth", "bridge", "firewall", "host-local", "loopback", "portmap", "tuning"];

fn main() -> ExitCode {
    let called = std::env::args_os().next().unwrap_or_default();
    let name = std::path::Path::new(&called).file_name().unwrap_or_default().to_string_lossy();
    match plugin(&name) {
        Some(plugin) => cni::run_among(plugin, self::plugin),
        None => {
            eprintln!(
                "podlink {}: CNI plugins; link this file under the names {}",
                env!("CARGO_PKG_VERSION"),
                NAMES.join(", ")
            );
            ExitCode::FAILURE
        }
    }
}

fn plugin(name: &str) -> Option<&'static dyn Plugin> {
    Some(match name {
        "bandwidth" => &podlink_bandwidth::Bandwidth,
        "bridge" => &podlink_bridge::Bridge,
        "firewall" => &podlink_firewall::Firewall,
        "host-local" => &host_local::HostLocal,
        "loopback" => &podlink_loopback::Loopback,
        "portmap" => &podlink_portmap::Portmap,
        "tuning" => &podlink_tuning::Tuning,
        _ => return None,
    })
}
