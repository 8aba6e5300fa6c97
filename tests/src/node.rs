//! A node: the namespaces that stand for one host machine in a test.

use std::ops::Deref;
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use tempfile::TempDir;

use crate::files::make_dir;
use crate::{BinDir, Call, Namespace, Pod, need};

/// Directories of the machine that are the node's own: what is written there lands in [`Node::dir`].
const PRIVATE: &[&str] = &["/run", "/var/lib"];

/// One host: a network namespace of its own, and a mount namespace in which `/run`, `/var/lib` and `/sys` are its own.
///
/// Each test makes its own, so tests may run in parallel and name bridges as they like. Nothing of it is visible on the
/// machine but one temporary directory; when the test process dies, even by a signal, the kernel takes the rest away.
#[derive(Debug)]
pub struct Node {
    namespace: Namespace,
    dir: TempDir,
}

impl Node {
    /// A fresh node with only `lo`, which is up.
    #[expect(clippy::new_without_default, reason = "making a host is not a default")]
    pub fn new() -> Self {
        need::root();
        let dir = tempfile::Builder::new()
            .prefix("podlink-node-")
            .tempdir()
            .unwrap_or_else(|e| panic!("a temporary directory for the node: {e}"));
        let path = dir.path();
        let namespace = std::thread::scope(|scope| {
            let maker = scope.spawn(|| {
                unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET)
                    .unwrap_or_else(|e| panic!("making the node's namespaces: {e}"));
                make_private(path);
                Namespace::of_this_thread()
            });
            maker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        namespace.sh(&["ip", "link", "set", "lo", "up"]);
        Self { namespace, dir }
    }

    /// The node's directory, as everybody sees it, removed with the node. Free for a test's own files.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Where the test finds a file that processes on the node see at `path`, which is in `/run` or `/var/lib`.
    pub fn outside(&self, path: &str) -> PathBuf {
        assert!(PRIVATE.iter().any(|dir| path.starts_with(dir)), "{path} is not one of the node's own directories");
        self.dir().join(path.trim_start_matches('/'))
    }

    /// A new pod on this node: an empty network namespace at `/run/netns/<name>`.
    pub fn pod(&self, name: &str) -> Pod {
        Pod::new(self, name)
    }

    /// A call of the plugin `name` from `bins`, to be started on this node.
    pub fn plugin(&self, bins: &BinDir, name: &str) -> Call<'_> {
        Call::new(self, bins, name)
    }
}

impl Deref for Node {
    type Target = Namespace;

    fn deref(&self) -> &Namespace {
        &self.namespace
    }
}

/// Makes the calling thread's mount namespace the node's own.
fn make_private(dir: &Path) {
    attach(None, Path::new("/"), None, MsFlags::MS_REC | MsFlags::MS_PRIVATE);
    // sysfs shows the network devices of the namespace it is mounted in. The cgroup trees mounted below the old one are
    // kept for container runtimes.
    let cgroups = dir.join("cgroups");
    make_dir(&cgroups);
    let sys_cgroups = Path::new("/sys/fs/cgroup");
    let has_cgroups = sys_cgroups.is_dir();
    if has_cgroups {
        attach(Some(sys_cgroups), &cgroups, None, MsFlags::MS_BIND | MsFlags::MS_REC);
    }
    attach(Some(Path::new("sysfs")), Path::new("/sys"), Some("sysfs"), MsFlags::empty());
    if has_cgroups {
        attach(Some(&cgroups), sys_cgroups, None, MsFlags::MS_MOVE);
    }
    for target in PRIVATE {
        let own = dir.join(target.trim_start_matches('/'));
        make_dir(&own);
        attach(Some(&own), Path::new(target), None, MsFlags::MS_BIND);
    }
    make_dir(Path::new("/run/netns"));
}

/// mount(2), panicking with both paths.
fn attach(source: Option<&Path>, target: &Path, kind: Option<&str>, flags: MsFlags) {
    mount(source, target, kind, flags, None::<&str>)
        .unwrap_or_else(|e| panic!("mounting {source:?} on {} ({flags:?}): {e}", target.display()));
}
