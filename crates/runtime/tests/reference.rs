//! The reference's plugins (Debian's containernetworking-plugins) in a node namespace of the test's own. Needs root.
//!
//! Namespaces belong to threads and nothing pins them: they end with the test, however it ends.

#![allow(clippy::unwrap_used, reason = "these are tests, outside of #[test] functions")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc;

use nix::sched::{CloneFlags, unshare};
use nix::unistd::gettid;
use runtime::{NetworkList, Runtime, RuntimeConf};
use serde_json::json;

const PLUGINS: &str = "/usr/lib/cni";

/// Runs `test` in a new namespace, with the path of another one for a pod.
fn with_node_and_pod(test: impl FnOnce(&Path) + Send) {
    let (pod_ready, wait_for_pod) = mpsc::channel();
    let (test_done, wait_for_test) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).expect("this test needs root");
            let path = format!("/proc/{}/task/{}/ns/net", std::process::id(), gettid());
            pod_ready.send(PathBuf::from(path)).unwrap();
            // Ends when the other side is dropped, also by a panic.
            let _ = wait_for_test.recv();
        });
        scope.spawn(move || {
            let _test_done = test_done;
            let pod = wait_for_pod.recv().unwrap();
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            test(&pod);
        });
    });
}

/// The interfaces of the namespace of the thread whose `ns/net` this is.
fn interfaces(netns: &Path) -> Vec<String> {
    let text = fs::read_to_string(netns.parent().unwrap().with_file_name("net").join("dev")).unwrap_or_default();
    text.lines().filter_map(|line| Some(line.split_once(':')?.0.trim().to_owned())).collect()
}

#[test]
fn bridge_and_loopback_are_wired_checked_and_removed() {
    with_node_and_pod(|pod| {
        let dir = tempfile::tempdir().unwrap();
        let reservations = dir.path().join("networks");
        let conflist = json!({"cniVersion": "1.0.0", "name": "reference", "plugins": [
            {"type": "bridge", "bridge": "cni-ref0", "isGateway": true, "isDefaultGateway": true,
             "ipam": {"type": "host-local", "dataDir": reservations, "subnet": "10.87.0.0/24"}},
            {"type": "loopback"},
        ]});
        let list = NetworkList::from_bytes(conflist.to_string().into_bytes()).unwrap();
        let runtime = Runtime::new(vec![PLUGINS.into()], dir.path());
        let conf = RuntimeConf::new("pod1", "eth0", Some(pod.to_owned()));

        let result = runtime.add(&list, &conf).unwrap();
        assert_eq!(result.ips[0].address.to_string(), "10.87.0.2/24");
        assert!(interfaces(pod).contains(&"eth0".to_owned()), "{:?}", interfaces(pod));
        assert!(reservations.join("reference/10.87.0.2").exists());
        runtime.check(&list, &conf).unwrap();

        runtime.del(&list, &conf).unwrap();
        assert_eq!(interfaces(pod), ["lo"]);
        assert!(!reservations.join("reference/10.87.0.2").exists());
        assert_eq!(runtime.cached_attachments().unwrap(), []);
        runtime.del(&list, &conf).unwrap();

        let versions = runtime.versions("bridge").unwrap();
        assert!(versions.contains(&"1.0.0".to_owned()), "{versions:?}");
    });
}
