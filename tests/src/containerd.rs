//! A containerd of the test's own, with its CRI plugin, on a node.

use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::cri::Cri;
use crate::files::{make_dir, write};
use crate::jail::Jail;
use crate::{BinDir, Node, image, need, process};

/// How long containerd may take to say that it serves. It only catches a start that failed.
const START: Duration = Duration::from_secs(30);

/// containerd, unmodified, in a [`Jail`] on a node: its state, socket, namespaces and containers go away with it.
///
/// When a test fails while it runs, the end of its log is printed.
#[derive(Debug)]
pub struct Containerd {
    // Fields are dropped in this order: the client hangs up, the daemon is collected after the jail has ended it.
    cri: Cri,
    jail: Jail,
    daemon: Child,
    log: PathBuf,
}

impl Containerd {
    /// Starts containerd with `conflist` as its pod network and the plugins of `bins`, and loads [`image::NAME`].
    pub fn start(node: &Node, bins: &BinDir, conflist: &Value) -> Self {
        let net_d = node.dir().join("containerd/net.d");
        make_dir(&net_d);
        write(&net_d.join("10-podlink.conflist"), &conflist.to_string());
        Self::launch(node, bins, Path::new(""))
    }

    /// The same with a template, from which it makes the pod network when it is told the node's pod CIDRs
    /// ([`Cri::set_pod_cidr`]).
    pub fn start_with_template(node: &Node, bins: &BinDir, template: &Path) -> Self {
        Self::launch(node, bins, template)
    }

    fn launch(node: &Node, bins: &BinDir, template: &Path) -> Self {
        need::real_root();
        bins.require(&["loopback"]);
        need::tool("runc");
        let dir = node.dir().join("containerd");
        let net_d = dir.join("net.d");
        make_dir(&net_d);
        let config = dir.join("config.toml");
        write(&config, &configuration(&dir, bins, &net_d, template));

        let notify = dir.join("notify.sock");
        let ready = UnixDatagram::bind(&notify).unwrap_or_else(|e| panic!("binding {}: {e}", notify.display()));
        let log = dir.join("log");
        let jail = Jail::new(node);
        let log_file = std::fs::File::create(&log).unwrap_or_else(|e| panic!("making {}: {e}", log.display()));
        let daemon = jail
            .command("containerd")
            .arg("--config")
            .arg(&config)
            .env("NOTIFY_SOCKET", &notify)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log_file)
            .spawn()
            .unwrap_or_else(|e| panic!("starting containerd: {e}"));
        wait_ready(&ready, &log);

        let socket = socket(&dir);
        let archive = image::write(&dir);
        let address = socket.to_string_lossy();
        let archive = archive.to_string_lossy();
        let import = ["--namespace", "k8s.io", "images", "import", "--snapshotter", "native", &archive];
        jail.finish(&[&["ctr", "--address", &address], &import[..]].concat()).success();
        Self { cri: Cri::connect(&socket), jail, daemon, log }
    }

    /// The client of its CRI socket.
    pub fn cri(&self) -> &Cri {
        &self.cri
    }

    /// Where it runs.
    pub fn jail(&self) -> &Jail {
        &self.jail
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("containerd's log ends:\n{}", tail(&self.log));
        }
        process::end(&mut self.daemon);
    }
}

fn wait_ready(socket: &UnixDatagram, log: &Path) {
    socket.set_read_timeout(Some(START)).unwrap_or_else(|e| panic!("{e}"));
    let mut message = [0; 256];
    loop {
        match socket.recv(&mut message) {
            // sd_notify(3): "READY=1", among other lines.
            Ok(n) if message[..n].starts_with(b"READY=1") => return,
            Ok(_) => {}
            Err(e) => panic!("containerd is not ready after {} s ({e}): {}", START.as_secs(), tail(log)),
        }
    }
}

fn socket(dir: &Path) -> PathBuf {
    dir.join("containerd.sock")
}

fn configuration(dir: &Path, bins: &BinDir, net_d: &Path, template: &Path) -> String {
    let [dir, socket, bins, net_d, template] =
        [dir, &socket(dir), bins.path(), net_d, template].map(|p| p.to_string_lossy().into_owned());
    let name = image::NAME;
    format!(
        r#"version = 2
root = "{dir}/root"
state = "{dir}/state"
disabled_plugins = [
  "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.overlayfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.tracing.processor.v1.otlp",
  "io.containerd.internal.v1.tracing",
]

[grpc]
address = "{socket}"

[plugins."io.containerd.internal.v1.opt"]
path = "{dir}/opt"

[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{name}"
# A test machine may lack the right to lower the score.
restrict_oom_score_adj = true

[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "native"
default_runtime_name = "runc"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{bins}"
conf_dir = "{net_d}"
conf_template = "{template}"
"#
    )
}

fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_else(|e| format!("no log {}: {e}", log.display()));
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}
