//! Runs a program inside user-mode-linux, through scripts/uml-run.sh.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::process::{self, Finished};
use crate::{BinDir, need};

/// The kernel modules the VLAN scenarios need inside; there, `modprobe` is not run by the kernel itself.
const MODULES: &[&str] = &["bridge", "8021q", "veth", "dummy"];

/// Above the script's own deadline of 240 s, which ends the machine and shows its console.
pub const DEADLINE: Duration = Duration::from_secs(270);

/// Boots a machine, runs `program` with `args` in it as root with the plugins of `bins` under test, and powers it off.
pub fn run(bins: &BinDir, program: &Path, args: &[&str]) -> Finished {
    need::root();
    need::tool("linux.uml");
    need::tool("modprobe");
    // When the test is killed, the script is told, and ends the machine.
    let mut command = Command::new(need::tool("setpriv"));
    command.args(["--pdeathsig", "TERM"]).arg(script());
    command.env("PODLINK_BIN_DIR", bins.path());
    for module in MODULES {
        command.args(["--module", module]);
    }
    command.arg("--").arg(program).args(args);
    process::run(&mut command, b"", DEADLINE)
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/uml-run.sh")
}
