//! A process-ID namespace on a node, for runtimes: whatever they detach into the background ends with it.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread::JoinHandle;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::process::{self, Finished};
use crate::{Namespace, Node, need};

/// What runs as process 1: it only collects the processes that runtimes leave to it.
const INIT: &str = "trap 'exit 0' TERM; echo ready; while :; do sleep 1000 & wait $!; done";

/// Process 1 of a new PID namespace in a node's network namespace and in a mount namespace below the node's.
///
/// Dropping it ends every process inside and takes their mounts and cgroups away. When the test process itself is
/// killed, the kernel ends everything inside, too (parent-death signals).
#[derive(Debug)]
pub struct Jail {
    init: u32,
    cgroup: String,
    stop: Option<mpsc::Sender<()>>,
    keeper: Option<JoinHandle<()>>,
    dir: PathBuf,
}

impl Jail {
    /// Starts process 1.
    pub fn new(node: &Node) -> Self {
        let mut command = Command::new(need::tool("setpriv"));
        command.args(["--pdeathsig", "KILL"]).arg(need::tool("unshare")).args([
            "--pid",
            "--fork",
            "--kill-child=KILL",
            "--mount-proc",
            "sh",
            "-c",
            INIT,
        ]);
        let mounts = node.clone_handle();
        let (started, pid) = mpsc::channel();
        let (stop, stopped) = mpsc::channel::<()>();
        // The parent-death signal is tied to the thread that started the process, so that thread stays.
        let keeper = std::thread::spawn(move || {
            mounts.run(move || {
                let (mut unshare, init) = start(&mut command);
                let _ = started.send(init);
                let _ = stopped.recv();
                // When `unshare` has collected process 1, the kernel has ended and collected everything inside.
                let _ = kill(Pid::from_raw(init.cast_signed()), Signal::SIGTERM);
                let _ = unshare.wait();
            });
        });
        let Ok(init) = pid.recv() else { panic!("process 1 of the jail did not start: see the panic above") };
        let cgroup = node.dir().file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        Self { init, cgroup, stop: Some(stop), keeper: Some(keeper), dir: node.dir().to_path_buf() }
    }

    /// A command that runs `program` inside. Children it leaves in the background live until the jail is dropped.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(need::tool("nsenter"));
        command.args(["--target", &self.init.to_string(), "--mount", "--pid", "--net"]).arg(need::tool(program));
        command.current_dir(&self.dir);
        command
    }

    /// Runs a command line inside to its end.
    #[track_caller]
    pub fn finish(&self, line: &[&str]) -> Finished {
        let [program, args @ ..] = line else { panic!("an empty command line") };
        process::run(self.command(program).args(args), b"", process::DEADLINE)
    }

    /// Process 1's ID, as seen from outside.
    pub fn init(&self) -> u32 {
        self.init
    }

    /// The node's network with the jail's mounts, where runtimes put namespaces.
    pub fn namespace(&self) -> Namespace {
        Namespace::of_process(self.init)
    }

    /// A cgroup of the jail's own, as an absolute cgroup path, to give to a runtime as the parent of its containers.
    pub fn cgroup(&self) -> String {
        format!("/{}", self.cgroup)
    }
}

impl Drop for Jail {
    fn drop(&mut self) {
        drop(self.stop.take());
        let _ = self.keeper.take().map(JoinHandle::join);
        // cgroup v2 has one tree, v1 has one below each controller's directory.
        let root = Path::new("/sys/fs/cgroup");
        remove_cgroup(&root.join(&self.cgroup));
        for tree in dirs(root) {
            remove_cgroup(&tree.join(&self.cgroup));
        }
    }
}

/// Starts the command and returns it with the process ID, as seen from here, of the only child it has.
fn start(command: &mut Command) -> (Child, u32) {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("starting process 1 of the jail: {e}"));
    let mut ready = String::new();
    if let Some(stdout) = child.stdout.take() {
        let _ = BufReader::new(stdout).read_line(&mut ready);
    }
    let file = format!("/proc/{0}/task/{0}/children", child.id());
    let children = std::fs::read_to_string(&file).unwrap_or_default();
    match children.trim().parse() {
        Ok(init) => (child, init),
        Err(_) => {
            process::end(&mut child);
            panic!("process 1 of the jail did not start (said {ready:?}, {file} is {children:?})")
        }
    }
}

/// Removes a cgroup and those below it. They are empty by now; one that does not exist is as good as removed.
fn remove_cgroup(path: &Path) {
    if path.is_dir() {
        dirs(path).iter().for_each(|dir| remove_cgroup(dir));
        if let Err(e) = std::fs::remove_dir(path) {
            eprintln!("cgroup {} stays behind: {e}", path.display());
        }
    }
}

fn dirs(path: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    entries.filter(|e| e.file_type().is_ok_and(|t| t.is_dir())).map(|e| e.path()).collect()
}
