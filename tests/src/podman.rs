//! A podman of the test's own, with its CNI backend, on a node.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::files::{make_dir, write};
use crate::jail::Jail;
use crate::process::{self, Finished};
use crate::{BinDir, Node, image, need};

/// podman, unmodified, in a [`Jail`] on a node, with its own storage and configuration.
#[derive(Debug)]
pub struct Podman {
    jail: Jail,
    dir: PathBuf,
}

impl Podman {
    /// Prepares podman with `conflist` as a network and the plugins of `bins`, and loads [`image::NAME`].
    pub fn new(node: &Node, bins: &BinDir, conflist: &Value) -> Self {
        need::real_root();
        need::tool("runc");
        need::tool("conmon");
        let dir = node.dir().join("podman");
        let net_d = dir.join("net.d");
        make_dir(&net_d);
        write(&net_d.join("10-podlink.conflist"), &conflist.to_string());
        write(&dir.join("containers.conf"), &configuration(bins, &net_d));
        let storage = dir.join("storage").display().to_string();
        let storage =
            format!("[storage]\ndriver = \"vfs\"\ngraphroot = \"{storage}/graph\"\nrunroot = \"{storage}/run\"\n");
        write(&dir.join("storage.conf"), &storage);
        let archive = image::write(&dir);
        let podman = Self { jail: Jail::new(node), dir };
        podman.run(&["load", "--input", &archive.to_string_lossy()]).success();
        podman
    }

    /// Runs `podman <args>` to its end.
    #[track_caller]
    pub fn run(&self, args: &[&str]) -> Finished {
        let mut command = self.jail.command("podman");
        let own = |name: &str| self.dir.join(name);
        command
            .args(args)
            .env("CONTAINERS_CONF", own("containers.conf"))
            .env("CONTAINERS_STORAGE_CONF", own("storage.conf"));
        process::run(&mut command, b"", process::DEADLINE)
    }

    /// `podman run --detach` of [`image::NAME`] on `network`, and the container's ID.
    #[track_caller]
    pub fn run_detached(&self, network: &str, name: &str, more: &[&str]) -> String {
        let cgroup = self.jail.cgroup();
        let mut args = vec!["run", "--detach", "--name", name, "--network", network, "--cgroup-parent", &cgroup];
        // A test machine may lack CAP_SYS_RESOURCE, which podman's default limits need.
        args.extend(["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024", "--pull", "never"]);
        args.extend(more);
        args.push(image::NAME);
        self.run(&args).success().trim().to_owned()
    }

    /// The container's first address on `network`.
    #[track_caller]
    pub fn ip(&self, name: &str, network: &str) -> String {
        let format = format!("{{{{(index .NetworkSettings.Networks \"{network}\").IPAddress}}}}");
        self.run(&["inspect", "--format", &format, name]).success().trim().to_owned()
    }

    /// Where it runs.
    pub fn jail(&self) -> &Jail {
        &self.jail
    }
}

fn configuration(bins: &BinDir, net_d: &Path) -> String {
    format!(
        r#"[network]
network_backend = "cni"
cni_plugin_dirs = ["{}"]
network_config_dir = "{}"

[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
# The default is a lock in /dev/shm, which all podmans of the machine share.
lock_type = "file"
runtime = "runc"
"#,
        bins.path().display(),
        net_d.display()
    )
}
