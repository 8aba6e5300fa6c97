//! A pod's resolver as a runtime sets it up: `/etc/resolv.conf` from the `dns` of the CNI result, in the pod's own mounts.

use std::fmt::Write;
use std::net::IpAddr;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::WiredPod;
use crate::files::write;
use crate::process::Finished;

/// What stands in front of a command that is to see another `/etc/resolv.conf`: `$0` is the file.
const MOUNTED: &str = r#"mount --bind "$0" /etc/resolv.conf && exec "$@""#;

/// A pod's `/etc/resolv.conf`.
#[derive(Debug)]
pub struct Resolver<'pod> {
    pod: &'pod WiredPod,
    file: std::path::PathBuf,
}

impl<'pod> Resolver<'pod> {
    /// Renders the `dns` of the pod's CNI result into a file in `dir`.
    pub fn of(pod: &'pod WiredPod, dir: &Path) -> Self {
        let file = dir.join(format!("resolv.conf.{}", pod.name));
        write(&file, &rendered(&pod.result["dns"]));
        Self { pod, file }
    }

    /// The addresses of `name` by the C library's resolver, sorted; `ahostsv4` or `ahostsv6` is the database. `options` are
    /// more options of the resolver. An error is what `getent` says.
    pub fn look_up(&self, database: &str, name: &str, options: &str) -> Result<Vec<IpAddr>, String> {
        let answer = self.run(&["getent", database, name], options);
        if answer.code != Some(0) {
            return Err(answer.to_string());
        }
        let first = |line: &str| line.split_whitespace().next()?.parse().ok();
        let mut found: Vec<IpAddr> = answer.stdout.lines().filter_map(first).collect();
        found.sort();
        found.dedup();
        Ok(found)
    }

    /// Runs a program that sees the pod's resolv.conf.
    pub fn run(&self, line: &[&str], options: &str) -> Finished {
        let mut command = Command::new(crate::need::tool("unshare"));
        command.args(["--mount", "sh", "-c", MOUNTED]).arg(&self.file).args(line).env("RES_OPTIONS", options);
        self.pod.finish(&mut command, b"")
    }
}

/// resolv.conf(5) of a `dns` object of the CNI specification.
fn rendered(dns: &Value) -> String {
    let list =
        |key: &str| -> Vec<&str> { dns[key].as_array().into_iter().flatten().filter_map(Value::as_str).collect() };
    let mut text = String::new();
    for server in list("nameservers") {
        let _ = writeln!(text, "nameserver {server}");
    }
    for key in ["search", "options"] {
        if !list(key).is_empty() {
            let _ = writeln!(text, "{key} {}", list(key).join(" "));
        }
    }
    text
}
