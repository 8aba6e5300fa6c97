//! One network namespace, with the mount namespace of the node it belongs to: where processes are started and code is run.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use nix::sched::{CloneFlags, setns, unshare};

use crate::process::{self, Finished};

/// A handle on a network namespace and on the mount namespace processes in it see.
///
/// It keeps both alive. A socket opened inside stays in the namespace, so it can be used from any thread afterwards.
#[derive(Debug)]
pub struct Namespace {
    net: File,
    mounts: Arc<File>,
}

impl Namespace {
    /// The namespaces of the calling thread.
    pub(crate) fn of_this_thread() -> Self {
        Self { net: open("/proc/thread-self/ns/net"), mounts: Arc::new(open("/proc/thread-self/ns/mnt")) }
    }

    /// The network namespace of the calling thread, in the mount namespace of `node`.
    pub(crate) fn of_this_thread_in(node: &Namespace) -> Self {
        Self { net: open("/proc/thread-self/ns/net"), mounts: Arc::clone(&node.mounts) }
    }

    /// The namespaces of a process, for instance of a container's init.
    pub fn of_process(pid: u32) -> Self {
        let ns = |kind| open(format!("/proc/{pid}/ns/{kind}"));
        Self { net: ns("net"), mounts: Arc::new(ns("mnt")) }
    }

    /// The namespace a file is a mount of, for instance one that a runtime made.
    ///
    /// `path` is as this namespace's processes see it; the result shares this one's mount namespace.
    pub fn at(&self, path: impl AsRef<Path> + Sync) -> Self {
        Self { net: self.run(|| open(path.as_ref())), mounts: Arc::clone(&self.mounts) }
    }

    /// Another handle on the same namespaces.
    pub fn clone_handle(&self) -> Self {
        let net = self.net.try_clone().unwrap_or_else(|e| panic!("duplicating a namespace handle: {e}"));
        Self { net, mounts: Arc::clone(&self.mounts) }
    }

    /// A path of the network namespace that every process of the machine may open while this handle lives: what `ip link`
    /// is told of the far end of a veth pair, across nodes.
    pub fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), self.net.as_raw_fd()))
    }

    /// Runs `body` on a thread of its own inside the namespaces. Panics of `body` come out here.
    ///
    /// Child processes and threads that `body` starts are inside, too. The working directory is `/`.
    pub fn run<T: Send>(&self, body: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let inside = scope.spawn(|| {
                self.enter();
                body()
            });
            inside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Moves the calling thread inside for good. Only for a thread that ends soon.
    fn enter(&self) {
        // A thread shares its root and working directory with its siblings; the kernel wants that undone before it lets
        // a thread change its mount namespace.
        unshare(CloneFlags::CLONE_FS).unwrap_or_else(|e| panic!("unshare(CLONE_FS): {e}"));
        setns(self.mounts.as_fd(), CloneFlags::CLONE_NEWNS).unwrap_or_else(|e| panic!("entering the mounts: {e}"));
        setns(self.net.as_fd(), CloneFlags::CLONE_NEWNET).unwrap_or_else(|e| panic!("entering the network: {e}"));
    }

    /// Runs a process inside to its end, with `stdin`, under [`process::DEADLINE`].
    #[track_caller]
    pub fn finish(&self, command: &mut Command, stdin: &[u8]) -> Finished {
        self.run(|| process::run(command, stdin, process::DEADLINE))
    }

    /// Runs a command line inside and returns its stdout. Panics unless it succeeds.
    #[track_caller]
    pub fn sh(&self, line: &[&str]) -> String {
        let [program, args @ ..] = line else { panic!("an empty command line") };
        self.finish(Command::new(crate::need::tool(program)).args(args), b"").success()
    }
}

fn open(path: impl AsRef<Path>) -> File {
    let path = path.as_ref();
    File::open(path).unwrap_or_else(|e| panic!("opening {}: {e}", path.display()))
}
