//! A data directory that is full, and one that cannot be written.

use podlink_tests::{Node, Pod, conf};
use serde_json::{Value, json};

const DIR: &str = "/var/lib/cni/networks";

fn configs() -> [Value; 2] {
    let ipam = conf::host_local(&["10.1.0.0/24", "fd00:1::/64"]);
    let alone = json!({ "cniVersion": "1.1.0", "name": "net", "type": "host-local", "ipam": ipam });
    [alone, conf::gateway(&["10.1.0.0/24", "fd00:1::/64"], json!({}))]
}

fn mounted(options: &str) -> (Node, Pod) {
    let node = Node::new();
    node.sh(&["sh", "-c", &format!("mkdir -p {DIR} && mount -t tmpfs -o {options} tmpfs {DIR}")]);
    let pod = node.pod("a");
    (node, pod)
}

/// Files in the network's directory but the lock and the hints.
fn reserved(node: &Node) -> Vec<String> {
    let listed = node.sh(&["sh", "-c", &format!("ls -A {DIR}/net 2>/dev/null; true")]);
    listed.lines().filter(|name| *name != "lock" && !name.starts_with("last_reserved_ip.")).map(str::to_owned).collect()
}

#[test]
fn a_full_disk_is_said_and_leaves_no_half_reservation() {
    for config in configs() {
        // Full of data, and full of files (the mount itself is one, `net`, its lock and the index are others).
        for (options, fill) in [
            ("size=64k", "head -c 1M /dev/zero >fill"),
            ("nr_inodes=12", "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do touch $i.fill; done"),
        ] {
            let (node, pod) = mounted(options);
            let call = node.typed(&config).pod(&pod);
            let what = format!("{} {options}", config["type"]);
            node.sh(&["sh", "-c", &format!("cd {DIR} && {{ {fill}; }} 2>/dev/null; true")]);
            let error = call.add().failure();
            assert!(error.text.contains(DIR) && error.text.contains("No space left"), "{what}: {}", error.text);
            assert_eq!((reserved(&node), pod.link_names()), (vec![], vec![]), "{what}: {}", error.text);
            call.del().success();
            node.sh(&["sh", "-c", &format!("rm {DIR}/*fill")]);
            call.add().success();
            // DEL needs no room.
            node.sh(&["sh", "-c", &format!("cd {DIR} && {{ {fill}; }} 2>/dev/null; true")]);
            call.del().success();
            assert_eq!((reserved(&node), pod.link_names()), (vec![], vec![]), "{what}");
        }
    }
}

#[test]
fn a_read_only_directory_is_said() {
    for config in configs() {
        let (node, pod) = mounted("size=1m");
        let other = node.pod("b");
        let what = &config["type"];
        node.typed(&config).pod(&other).add().success();
        let remount = |how: &str| node.sh(&["mount", "-o", &format!("remount,{how}"), DIR]);
        remount("ro");
        let call = node.typed(&config).pod(&pod);
        let error = call.add().failure();
        assert!(error.text.contains(DIR) && error.text.contains("Read-only"), "{what}: {}", error.text);
        assert_eq!((reserved(&node).len(), pod.link_names()), (2, vec![]), "{what}");
        let mut status = config.clone();
        status["cniVersion"] = json!("1.1.0");
        let error = node.typed(&status).run("STATUS").failure();
        assert_eq!(error.code, 50, "{what}: {}", error.text);
        let error = node.typed(&config).pod(&other).del().failure();
        assert!(error.text.contains(DIR) && error.text.contains("Read-only"), "{what}: {}", error.text);
        remount("rw");
        call.add().success();
        call.del().success();
        node.typed(&config).pod(&other).del().success();
        assert_eq!(reserved(&node), [""; 0], "{what}");
    }
}
