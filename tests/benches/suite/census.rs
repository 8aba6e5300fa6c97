//! What a call costs beside time: its processes, its system calls, and the memory of the largest process, under ptrace.
//!
//! Not by `ru_maxrss`: a program that is started by `vfork` inherits there what its parent, the benchmark, had.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use nix::errno::Errno;
use nix::libc;
use nix::sys::ptrace::{self, Event, Options};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use podlink_tests::{Node, need};

/// The costs of one call, with those of all processes it starts.
#[derive(Debug, Default)]
pub struct Census {
    /// The highest resident set of any of its processes (`VmHWM`), in KiB.
    pub memory_kib: u64,
    /// Programs that were loaded, its own included.
    pub processes: u64,
    /// System calls of all threads, from the plugin's load on.
    pub calls: u64,
    /// What it printed.
    pub stdout: Vec<u8>,
}

/// Runs the command with `stdin` on the node to its end.
pub fn take(node: &Node, command: &Command, stdin: &[u8]) -> Result<Census, String> {
    node.run(|| trace(command, stdin)).map_err(|e| format!("{}: {e}", command.get_program().display()))
}

fn trace(command: &Command, stdin: &[u8]) -> Result<Census, Box<dyn std::error::Error + Send + Sync>> {
    // The shell waits for a line before it becomes the plugin; by then it is traced.
    let mut held = Command::new(need::tool("sh"));
    held.args(["-c", r#"read -r _ && exec "$0""#]).arg(command.get_program()).env_clear();
    held.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let mut child = held.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let root = Pid::from_raw(i32::try_from(child.id())?);
    let options = Options::PTRACE_O_TRACESYSGOOD
        | Options::PTRACE_O_TRACECLONE
        | Options::PTRACE_O_TRACEEXEC
        | Options::PTRACE_O_TRACEEXIT
        | Options::PTRACE_O_TRACEFORK
        | Options::PTRACE_O_TRACEVFORK
        | Options::PTRACE_O_EXITKILL;
    ptrace::seize(root, options)?;
    // Both fit the pipes: the plugin need not be read from while it runs.
    let mut pipe = child.stdin.take().ok_or("no stdin")?;
    pipe.write_all(&[b"\n", stdin].concat())?;
    drop(pipe);
    let mut census = Census::default();
    let success = census.follow(root, Path::new(command.get_program()))?;
    child.stdout.take().ok_or("no stdout")?.read_to_end(&mut census.stdout)?;
    if success { Ok(census) } else { Err(String::from_utf8_lossy(&census.stdout).into_owned().into()) }
}

impl Census {
    /// Until the last process has ended; whether the first one succeeded.
    fn follow(&mut self, root: Pid, plugin: &Path) -> Result<bool, Errno> {
        let mut success = false;
        let mut inside: BTreeMap<Pid, bool> = BTreeMap::new();
        loop {
            let (task, signal) = match waitpid(None, Some(WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD)) {
                Err(Errno::ECHILD) => return Ok(success),
                Err(Errno::EINTR) => continue,
                Err(errno) => return Err(errno),
                Ok(WaitStatus::Exited(task, status)) => {
                    success |= task == root && status == 0;
                    continue;
                }
                Ok(WaitStatus::PtraceSyscall(task)) => {
                    // A call stops at its entry and at its end; the first stop of a new thread is the end of one.
                    let enters = inside.entry(task).or_insert(task != root);
                    *enters = !*enters;
                    self.calls += u64::from(*enters && self.processes > 0);
                    (task, None)
                }
                Ok(WaitStatus::PtraceEvent(task, _, event)) => {
                    match event {
                        // The shell's own load may still be reported: nothing counts before the plugin's.
                        _ if event == Event::PTRACE_EVENT_EXEC as libc::c_int => {
                            self.processes += u64::from(self.processes > 0 || is_program(task, plugin));
                        }
                        _ if event == Event::PTRACE_EVENT_EXIT as libc::c_int && self.processes > 0 => {
                            self.memory_kib = self.memory_kib.max(peak(task));
                        }
                        _ => {}
                    }
                    (task, None)
                }
                Ok(WaitStatus::Stopped(task, signal)) => (task, Some(signal)),
                Ok(_) => continue,
            };
            match ptrace::syscall(task, signal) {
                Ok(()) | Err(Errno::ESRCH) => {}
                Err(errno) => return Err(errno),
            }
        }
    }
}

fn is_program(task: Pid, program: &Path) -> bool {
    std::fs::read_link(format!("/proc/{task}/exe")).is_ok_and(|exe| exe.file_name() == program.file_name())
}

/// `VmHWM` of a process that is about to end; 0 for a thread after whose end nothing is known.
fn peak(task: Pid) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{task}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse().unwrap_or_default()
}
