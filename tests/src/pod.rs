//! A pod: an empty network namespace with a path, as a runtime hands it to a plugin.

use std::fs::File;
use std::ops::Deref;
use std::path::PathBuf;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};

use crate::{Namespace, Node};

/// How a runtime names a pod to a plugin. Outlives the pod, for calls about a pod that is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodId {
    /// `CNI_CONTAINERID`.
    pub container_id: String,
    /// `CNI_NETNS`, as processes on the node see it.
    pub netns: PathBuf,
}

/// A pod's network namespace, mounted at its path on the node until it is dropped.
#[derive(Debug)]
pub struct Pod {
    namespace: Namespace,
    id: PodId,
    /// The same mount namespace in the node's own network, to take the mount away from.
    node: Namespace,
}

impl Pod {
    pub(crate) fn new(node: &Node, name: &str) -> Self {
        let id = PodId { container_id: format!("pod-{name}"), netns: PathBuf::from(format!("/run/netns/{name}")) };
        let path = id.netns.as_path();
        let (namespace, keeper) = node.run(|| {
            let keeper = Namespace::of_this_thread_in(node);
            unshare(CloneFlags::CLONE_NEWNET).unwrap_or_else(|e| panic!("making the namespace of pod {name}: {e}"));
            File::create_new(path).unwrap_or_else(|e| panic!("making {}: {e}", path.display()));
            mount(Some("/proc/thread-self/ns/net"), path, None::<&str>, MsFlags::MS_BIND, None::<&str>)
                .unwrap_or_else(|e| panic!("mounting a namespace on {}: {e}", path.display()));
            (Namespace::of_this_thread_in(node), keeper)
        });
        Self { namespace, id, node: keeper }
    }

    /// How plugins are told about this pod. A clone stays valid after [`Pod::destroy`].
    pub fn id(&self) -> &PodId {
        &self.id
    }

    /// Takes the namespace away, as a runtime that crashed or a reboot does, and returns what is left: the name.
    ///
    /// The kernel removes the pod's devices some time after: wait with [`Namespace::wait_until`].
    pub fn destroy(self) -> PodId {
        self.id.clone()
    }
}

impl Deref for Pod {
    type Target = Namespace;

    fn deref(&self) -> &Namespace {
        &self.namespace
    }
}

impl AsRef<PodId> for Pod {
    fn as_ref(&self) -> &PodId {
        &self.id
    }
}

impl AsRef<PodId> for PodId {
    fn as_ref(&self) -> &PodId {
        self
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        let path = self.id.netns.as_path();
        self.node.run(|| {
            // A test may have removed either itself.
            let _ = umount2(path, MntFlags::MNT_DETACH);
            let _ = std::fs::remove_file(path);
        });
    }
}
