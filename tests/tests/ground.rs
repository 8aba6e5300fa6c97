//! The test ground itself: it isolates, it observes, and it leaves nothing behind.

use std::collections::BTreeSet;
use std::fs::File;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::Command;

use podlink_tests::jail::Jail;
use podlink_tests::{BinDir, Namespace, Node, Pod};
use serde_json::json;

/// A veth between the node and the pod, 10.0.0.1 and 10.0.0.2.
fn wire(node: &Node, pod: &Pod) {
    let netns = pod.id().netns.display().to_string();
    let name = netns.trim_start_matches("/run/netns/");
    node.sh(&["ip", "link", "add", "veth-a", "type", "veth", "peer", "name", "eth0", "netns", name]);
    node.sh(&["ip", "addr", "add", "10.0.0.1/24", "dev", "veth-a"]);
    node.sh(&["ip", "link", "set", "veth-a", "up"]);
    pod.sh(&["ip", "addr", "add", "10.0.0.2/24", "dev", "eth0"]);
    pod.sh(&["ip", "link", "set", "eth0", "up"]);
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
}

#[test]
fn two_nodes_with_the_same_names_do_not_meet() {
    let nodes = [Node::new(), Node::new()];
    let pods: Vec<Pod> = nodes.iter().map(|node| node.pod("a")).collect();
    for (node, pod) in nodes.iter().zip(&pods) {
        wire(node, pod);
        assert_eq!(node.link_names(), ["veth-a"]);
        assert_eq!(pod.link_names(), ["eth0"]);
        assert_eq!(pod.addresses("eth0"), ["10.0.0.2/24"]);
    }
    nodes[0].sh(&["ip", "link", "del", "veth-a"]);
    assert!(nodes[0].link("veth-a").is_none() && pods[0].link("eth0").is_none());
    assert!(nodes[1].link("veth-a").is_some() && pods[1].link("eth0").is_some());
}

#[test]
fn packets_travel_and_show_their_source() {
    let node = Node::new();
    let pod = node.pod("a");
    wire(&node, &pod);
    pod.ping(address("10.0.0.1"));
    node.ping(address("10.0.0.2"));
    assert_eq!(pod.tcp(&node, address("10.0.0.1")).unwrap(), address("10.0.0.2"));
    assert_eq!(node.udp(&pod, address("10.0.0.2")).unwrap(), address("10.0.0.1"));
    let refused = pod.run(|| std::net::TcpStream::connect("10.0.0.1:9"));
    assert!(refused.is_err(), "nothing listens there");
}

#[test]
fn the_nodes_run_and_var_lib_are_its_own() {
    let node = Node::new();
    node.sh(&["busybox", "touch", "/run/from-node", "/var/lib/from-node"]);
    for path in ["/run/from-node", "/var/lib/from-node"] {
        assert!(node.outside(path).is_file(), "{path} is not in the node's directory");
        assert!(!Path::new(path).exists(), "{path} got out onto the machine");
    }
    let devices = node.sh(&["busybox", "ls", "/sys/class/net"]);
    assert_eq!(devices.trim(), "lo", "/sys shows another namespace's devices");
}

#[test]
fn wait_until_sees_a_pods_devices_go() {
    let node = Node::new();
    let pod = node.pod("a");
    wire(&node, &pod);
    let id = pod.destroy();
    node.wait_until("the host end is gone", |node| node.link("veth-a").is_none());
    assert!(!node.outside(&id.netns.display().to_string()).exists());
}

#[test]
fn a_call_carries_what_it_was_given() {
    let node = Node::new();
    let pod = node.pod("a");
    let script = "/usr/bin/printf '{\"env\":\"%s %s %s %s %s\",\"in\":' \
                  \"$CNI_COMMAND\" \"$CNI_CONTAINERID\" \"$CNI_NETNS\" \"$CNI_IFNAME\" \"$CNI_ARGS\"; cat; echo }";
    let bins = BinDir::with_script(&node, "echo", script);
    let call = node.plugin(&bins, "echo").config(&json!({"a": 1})).pod(&pod).ifname("net1");
    let result = call.prev_result(&json!({"b": 2})).args("X=1").run("GC").success();
    assert_eq!(result, json!({"env": "GC pod-a /run/netns/a net1 X=1", "in": {"a": 1, "prevResult": {"b": 2}}}));
}

#[test]
fn a_failure_is_no_success_and_a_success_no_failure() {
    let node = Node::new();
    let error = r#"echo '{"code":7,"msg":"broken","details":"at eth0"}'; exit 1"#;
    let failed = node.plugin(&BinDir::with_script(&node, "fails", error), "fails").run("ADD");
    let works = node.plugin(&BinDir::with_script(&node, "works", "echo '{}'"), "works").run("ADD");
    let garbled = node.plugin(&BinDir::with_script(&node, "garbled", "echo oops; exit 1"), "garbled").run("ADD");
    assert_eq!((failed.failure().code, failed.failure().text.as_str()), (7, "broken\nat eth0"));
    assert_eq!(works.success(), json!({}));
    assert!(catch_unwind(|| failed.success()).is_err());
    assert!(catch_unwind(|| works.failure()).is_err());
    assert!(catch_unwind(|| garbled.failure()).is_err(), "a failure must be a CNI error");
}

#[test]
fn a_missing_plugin_is_named() {
    let node = Node::new();
    let panic = catch_unwind(AssertUnwindSafe(|| drop(node.plugin(&BinDir::at("/nowhere"), "bridge")))).unwrap_err();
    let text = panic.downcast_ref::<String>().unwrap();
    assert!(text.contains("no plugin `bridge` in /nowhere") && text.contains("PODLINK_BIN_DIR"), "{text}");
}

/// What only this test's own node and jail have. The open files keep the kernel from giving the namespaces' numbers to
/// those of another test.
struct Marks {
    dir: PathBuf,
    namespaces: [File; 2],
}

impl Marks {
    fn of(node: &Node, jail: &Jail) -> Self {
        let open = |kind| File::open(format!("/proc/{}/ns/{kind}", jail.init()));
        Self {
            dir: node.dir().to_path_buf(),
            namespaces: ["net", "pid"].map(|kind| open(kind).unwrap_or_else(|e| panic!("{e}"))),
        }
    }

    /// Everything a node and a jail could leave on the machine.
    fn traces(&self) -> Vec<String> {
        let mut found = Vec::new();
        let dir = self.dir.display().to_string();
        if self.dir.exists() {
            found.push(format!("directory {dir}"));
        }
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        found.extend(mounts.lines().filter(|m| m.contains(&dir)).map(|m| format!("mount {m}")));
        let own = self.namespaces.each_ref().map(|file| file.metadata().map_or(0, |m| m.ino()));
        for pid in pids() {
            let inode = |kind: &str| std::fs::metadata(format!("/proc/{pid}/ns/{kind}")).map_or(0, |m| m.ino());
            if [inode("net"), inode("pid")].iter().any(|inode| own.contains(inode)) {
                found.push(format!("process {pid}"));
            }
        }
        let name = self.dir.file_name().unwrap_or_default();
        let trees = std::fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten().map(|e| e.path().join(name));
        found.extend(trees.filter(|t| t.exists()).map(|t| format!("cgroup {}", t.display())));
        found
    }
}

fn pids() -> BTreeSet<u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|e| e.file_name().to_str()?.parse().ok()).collect()
}

#[test]
fn nothing_is_left_behind_when_a_test_panics() {
    let mut marks: Option<Marks> = None;
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let node = Node::new();
        let pod = node.pod("a");
        wire(&node, &pod);
        let jail = Jail::new(&node);
        // A process that detached itself, as container runtimes' shims do, in a cgroup of the jail.
        let detach = "setsid sleep 1000 >/dev/null 2>&1 </dev/null &";
        jail.finish(&["sh", "-c", detach]).success();
        let trees = std::fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten();
        let below = format!("{}/container", jail.cgroup().trim_start_matches('/'));
        let made: Vec<_> = trees.filter(|tree| std::fs::create_dir_all(tree.path().join(&below)).is_ok()).collect();
        let seen = marks.insert(Marks::of(&node, &jail)).traces().join("\n");
        // Root of a user namespace may not make cgroups, so there is none to find.
        let kinds = ["directory", "process", "cgroup"];
        for kind in kinds.into_iter().filter(|kind| *kind != "cgroup" || !made.is_empty()) {
            assert!(seen.contains(kind), "the search for traces is blind for a {kind}: {seen}");
        }
        panic!("as a failing test does");
    }));
    let message = panicked.unwrap_err();
    assert_eq!(message.downcast_ref::<&str>(), Some(&"as a failing test does"));
    assert_eq!(marks.unwrap().traces(), Vec::<String>::new());
}

#[test]
fn a_hang_is_ended_and_told() {
    let hang = catch_unwind(|| {
        let mut command = Command::new("sleep");
        podlink_tests::process::run(command.arg("1000"), b"", std::time::Duration::from_millis(100));
    });
    let panic = hang.unwrap_err();
    let text = panic.downcast_ref::<String>().unwrap();
    assert!(text.contains("still running") && text.contains("sleep 1000"), "{text}");
}

#[test]
fn a_namespace_of_a_process_is_found() {
    let node = Node::new();
    let jail = Jail::new(&node);
    node.sh(&["ip", "link", "add", "dummy-a", "type", "veth", "peer", "name", "dummy-b"]);
    let inside: Namespace = jail.namespace();
    assert!(inside.link("dummy-a").is_some());
}
