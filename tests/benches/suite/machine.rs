//! What the numbers were measured on.

use std::path::Path;
use std::process::{Command, Stdio};

use podlink_tests::BinDir;
use serde_json::{Value, json};

/// Processor, kernel and versions, as names and values.
pub fn describe() -> Value {
    let processors = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = processors.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let threads = std::thread::available_parallelism().map_or(0, usize::from);
    let first_line = |path| std::fs::read_to_string(path).unwrap_or_default().lines().next().map(str::to_owned);
    json!({
        "processor": format!("{}, {threads} threads", model.trim_matches([' ', '\t', ':'])),
        "memory": first_line("/proc/meminfo").map(|line| line.trim_start_matches("MemTotal:").trim().to_owned()),
        "kernel": first_line("/proc/sys/kernel/osrelease"),
        "podlink": format!("{} ({})", env!("CARGO_PKG_VERSION"), said(Command::new("git").args(["describe", "--always", "--dirty"]))),
        "reference": reference(),
        "iptables": said(Command::new("iptables").arg("--version")),
        "containerd": said(Command::new("containerd").arg("--version")),
        "date": said(Command::new("date").args(["-u", "+%Y-%m-%d %H:%M UTC"])),
    })
}

/// The reference's directory and version: Debian's plugins do not know theirs, but the package does.
fn reference() -> String {
    let bins = BinDir::reference();
    let package =
        said(Command::new("dpkg-query").args(["-W", "-f", "${Package} ${Version}", "containernetworking-plugins"]));
    let packaged = bins.path() == Path::new("/usr/lib/cni");
    let version = if packaged { package } else { said(&mut Command::new(bins.plugin("bridge"))) };
    format!("{version} in {}", bins.path().display())
}

/// The first line that a command prints, on stdout or, as the reference's plugins do, on stderr.
fn said(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output();
    let text = output.map(|output| [output.stdout, output.stderr].concat()).unwrap_or_default();
    let text = String::from_utf8_lossy(&text).into_owned();
    text.lines().next().unwrap_or("unknown").to_owned()
}
