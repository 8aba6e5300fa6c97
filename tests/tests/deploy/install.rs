//! The init containers, each as its manifest says: command, variables, mounts, no capability, a root that cannot be written. The
//! image is put together as the Containerfile does it, but for curl, which a script stands for: there is no API server.

use std::collections::BTreeMap;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use k8s_openapi::api::core::v1::{ConfigMap, Container, Volume};
use podlink_tests::files::{make_dir, write};
use podlink_tests::jail::Jail;
use podlink_tests::process::Finished;
use podlink_tests::{BinDir, Node, need};
use serde_json::{Value, json};

use crate::manifest;

/// What stands for curl: it wants the token, not on the command line, and the node's own object.
const CURL: &str = r#"grep -q '^header = "Authorization: Bearer t0ken"$' || { echo "curl: 401" >&2; exit 22; }
case "$*" in *t0ken*) echo "the token is on the command line" >&2; exit 22 ;; esac
for url; do :; done
[ "$url" = "https://[fd00::1]:6443/api/v1/nodes/node-1" ] || { echo "curl: $url: 404" >&2; exit 22; }
cat /node.json
"#;

/// A node with an image's root file system, to run one manifest's init container in.
struct Ground {
    node: Node,
    jail: Jail,
    file: &'static str,
}

impl Ground {
    fn new(file: &'static str, node_object: &str) -> Ground {
        let node = Node::new();
        let root = node.dir().join("bundle/rootfs");
        for dir in ["bin", "usr/bin", "proc", "tmp", "template", "host/opt/cni/bin", "host/etc/cni/net.d"] {
            make_dir(&root.join(dir));
        }
        podlink_tests::files::copy_program(&need::tool("busybox"), &root.join("bin/busybox"));
        for applet in ["sh", "cat", "grep", "mktemp", "rm", "sed", "tr"] {
            symlink("busybox", root.join("bin").join(applet)).unwrap();
        }
        podlink_tests::files::copy_program(&BinDir::ours().plugin("podlink"), &root.join("usr/bin/podlink"));
        let script = root.join("usr/bin/install-from-node");
        std::fs::copy(manifest::dir().join("install-from-node.sh"), script).unwrap();
        BinDir::with_script(&node, "curl", CURL);
        std::fs::rename(node.dir().join("plugins/curl"), root.join("usr/bin/curl")).unwrap();
        write(&root.join("node.json"), node_object);
        let account = root.join("var/run/secrets/kubernetes.io/serviceaccount");
        make_dir(&account);
        write(&account.join("token"), "t0ken");
        write(&account.join("ca.crt"), "");
        let jail = Jail::new(&node);
        Ground { node, jail, file }
    }

    /// Where the node has what is at `path` of its own root.
    fn host(&self, path: &str) -> PathBuf {
        self.node.dir().join("host").join(path.trim_start_matches('/'))
    }

    /// Runs the init container to its end.
    fn run(&self) -> Finished {
        let pod = manifest::pod(self.file);
        let container = &pod.init_containers.unwrap()[0];
        let volumes = pod.volumes.unwrap();
        let mounts = container.volume_mounts.iter().flatten().map(|mount| {
            let volume = volumes.iter().find(|volume| volume.name == mount.name).unwrap();
            self.mount(volume, &mount.mount_path)
        });
        let proc = json!({ "destination": "/proc", "type": "proc", "source": "proc" });
        let config = json!({
            "ociVersion": "1.0.2",
            "process": {
                "args": container.command, "env": environment(container), "cwd": "/", "user": { "uid": 0, "gid": 0 },
                "capabilities": { "bounding": [], "effective": [], "permitted": [] }, "noNewPrivileges": true,
            },
            "root": { "path": "rootfs", "readonly": true },
            "mounts": std::iter::once(proc).chain(mounts).collect::<Vec<_>>(),
            "linux": {
                "namespaces": [{ "type": "pid" }, { "type": "mount" }, { "type": "ipc" }, { "type": "uts" }],
                "cgroupsPath": format!("{}/install", self.jail.cgroup()),
            },
        });
        let bundle = self.node.dir().join("bundle");
        write(&bundle.join("config.json"), &config.to_string());
        let (state, bundle) = (self.node.dir().join("runc"), bundle.to_string_lossy().into_owned());
        self.jail.finish(&["runc", "--root", &state.to_string_lossy(), "run", "--bundle", &bundle, "install"])
    }

    fn mount(&self, volume: &Volume, destination: &str) -> Value {
        let bind = |source: &Path, mode: &str| json!({ "destination": destination, "type": "bind", "source": source, "options": ["bind", mode] });
        if let Some(host) = &volume.host_path {
            let source = self.host(&host.path);
            make_dir(&source);
            return bind(&source, "rw");
        }
        if volume.config_map.is_some() {
            let source = self.node.dir().join("config-map");
            make_dir(&source);
            let data = manifest::object::<ConfigMap>(self.file, "ConfigMap").data.unwrap();
            data.iter().for_each(|(name, text)| write(&source.join(name), text));
            return bind(&source, "ro");
        }
        assert!(volume.empty_dir.is_some(), "{volume:?}");
        json!({ "destination": destination, "type": "tmpfs", "source": "tmpfs" })
    }
}

/// What the kubelet sets.
fn environment(container: &Container) -> Vec<String> {
    let service = ["KUBERNETES_SERVICE_HOST=fd00::1", "KUBERNETES_SERVICE_PORT=6443", "PATH=/usr/bin:/bin"];
    let own = container.env.iter().flatten().map(|variable| {
        let from = variable.value_from.as_ref().and_then(|from| from.field_ref.as_ref());
        let value = match from {
            Some(field) if field.field_path == "spec.nodeName" => "node-1".to_owned(),
            Some(field) => panic!("{field:?}"),
            None => variable.value.clone().unwrap_or_default(),
        };
        format!("{}={value}", variable.name)
    });
    service.map(str::to_owned).into_iter().chain(own).collect()
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| !name.starts_with('.'));
    names.sort();
    names
}

#[test]
fn the_default_puts_the_plugins_there() {
    let ground = Ground::new("podlink.yaml", "");
    ground.run().success();
    let bin = ground.host("/opt/cni/bin");
    let names = names(&bin);
    for name in ["bridge", "flannel", "host-local", "loopback", "podlink", "portmap", "ptp", "static"] {
        assert!(names.contains(&name.to_owned()), "{names:?}");
    }
    // And once more, as after each restart of the node.
    ground.run().success();
    let mut version = Command::new(bin.join("bridge"));
    version.env("CNI_COMMAND", "VERSION");
    assert!(ground.node.finish(&mut version, b"{}").success().contains("1.1.0"));
}

#[test]
fn the_nodes_pod_cidrs_become_its_network() {
    let node_object = r#"{
        "kind": "Node", "metadata": { "name": "node-1" },
        "spec": { "podCIDR": "10.244.5.0/24", "podCIDRs": [ "10.244.5.0/24", "fd00:244:5::/64" ], "taints": [] }
    }"#;
    let ground = Ground::new("podlink-with-api.yaml", node_object);
    ground.run().success();
    let conf = ground.host("/etc/cni/net.d");
    assert_eq!(names(&conf), ["10-podlink.conflist"]);
    let conflist: Value = serde_json::from_slice(&std::fs::read(conf.join("10-podlink.conflist")).unwrap()).unwrap();
    let ipam = &conflist["plugins"][0]["ipam"];
    assert_eq!(ipam["ranges"], json!([[{ "subnet": "10.244.5.0/24" }], [{ "subnet": "fd00:244:5::/64" }]]));
    assert_eq!(ipam["routes"], json!([{ "dst": "0.0.0.0/0" }, { "dst": "::/0" }]));
    // A pod is attached with what is on the node now, and nothing else.
    let pod = ground.node.pod("a");
    let variables = BTreeMap::from([("NETCONFPATH", conf), ("CNI_PATH", ground.host("/opt/cni/bin"))]);
    let cnitool = |verb: &str| {
        let mut command = Command::new(BinDir::ours().plugin("cnitool"));
        command.envs(&variables).args([verb, "k8s-pod-network", "/run/netns/a"]);
        ground.node.finish(&mut command, b"").success()
    };
    cnitool("add");
    assert_eq!(pod.addresses("eth0"), ["10.244.5.2/24", "fd00:244:5::2/64"]);
    pod.ping("10.244.5.1".parse().unwrap());
    cnitool("del");
    ground.run().success();
}

#[test]
fn a_node_without_a_pod_cidr_is_told_and_nothing_is_installed() {
    for (object, words) in [
        (r#"{ "spec": {} }"#, "no spec.podCIDRs yet"),
        (r#"{ "spec": { "podCIDRs": ["10.244.0.0/24;reboot"] } }"#, "which is none"),
    ] {
        let ground = Ground::new("podlink-with-api.yaml", object);
        let finished = ground.run();
        assert!(finished.code == Some(1) && finished.stderr.contains(words), "{object}: {finished}");
        assert_eq!((names(&ground.host("/opt/cni/bin")), names(&ground.host("/etc/cni/net.d"))), (vec![], vec![]));
    }
}
