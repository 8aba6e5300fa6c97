//! Bad input to ADD: an error with the right code that names what is wrong, and nothing has changed.

use std::fs::File;
use std::path::Path;
use std::process::Stdio;

use podlink_tests::compare::Labels;
use podlink_tests::{BinDir, Call, Node, Output, Pod, conf, files};
use serde_json::{Value, json};

const SUBNETS: &[&str] = &["10.1.0.0/24"];

/// A node and a pod that a failed ADD must leave as they are.
struct Ground {
    node: Node,
    pod: Pod,
}

impl Ground {
    fn new() -> Self {
        let node = Node::new();
        node.sh(&["busybox", "sysctl", "-w", "net/ipv4/ip_forward=0"]);
        let pod = node.pod("a");
        Self { node, pod }
    }

    /// The call of ADD with a gateway's config and `keys`.
    fn call(&self, keys: Value) -> Call<'_> {
        self.node.typed(&conf::gateway(SUBNETS, keys)).pod(&self.pod)
    }

    /// Panics unless ADD fails with `code` and with `words` in its text, and changes nothing.
    #[track_caller]
    fn refuses(&self, what: &str, call: &Call<'_>, code: u64, words: &[&str]) {
        let mut labels = Labels::default();
        let before = self.node.state(&mut labels, &self.pod);
        let error = call.add().failure();
        assert_eq!(error.code, code, "{what}: {}", error.text);
        for word in words {
            assert!(error.text.contains(word), "{what}: the error must say {word:?}: {}", error.text);
        }
        assert_eq!(self.node.state(&mut labels, &self.pod), before, "{what} changed something");
    }
}

#[test]
fn what_is_no_config() {
    let ground = Ground::new();
    let whole = conf::gateway(SUBNETS, json!({ "padding": "x".repeat(10 << 20) })).to_string();
    for (what, bytes, words) in [
        ("truncated", whole.as_bytes()[..60].to_vec(), &["stdin"][..]),
        ("empty", vec![], &["empty"]),
        ("10 MB", whole.into_bytes(), &["larger"]),
        ("no UTF-8", b"{\"name\": \"\xff\"}".to_vec(), &["UTF-8"]),
        ("no object", b"[1]".to_vec(), &["object"]),
        ("two objects", b"{} {}".to_vec(), &["stdin"]),
    ] {
        ground.refuses(what, &ground.call(json!({})).stdin(bytes), 6, words);
    }
}

#[test]
fn values_of_keys() {
    let ground = Ground::new();
    let mac = |mac: &str| json!({ "runtimeConfig": { "mac": mac } });
    let ipam = |ipam: Value| json!({ "ipam": ipam });
    for (keys, code, word) in [
        (json!({ "cniVersion": "7.0.0" }), 1, "7.0.0"),
        (json!({ "cniVersion": 1 }), 6, "cniVersion"),
        (json!({ "name": "../x" }), 7, "../x"),
        (json!({ "name": "" }), 7, "name"),
        (json!({ "name": [1] }), 6, "name"),
        (json!({ "bridge": "../x" }), 7, "../x"),
        (json!({ "bridge": "sixteen-bytes-xx" }), 7, "sixteen-bytes-xx"),
        (json!({ "bridge": 7 }), 7, "bridge"),
        (json!({ "isGateway": "yes" }), 7, "isGateway"),
        (json!({ "mtu": "large" }), 7, "mtu"),
        (json!({ "mtu": -1 }), 7, "mtu"),
        (json!({ "mtu": 67 }), 7, "mtu"),
        (json!({ "mtu": 65536 }), 7, "65536"),
        (json!({ "vlan": 4095 }), 7, "4095"),
        (json!({ "vlan": -1 }), 7, "vlan"),
        (json!({ "vlanTrunk": [{ "id": 4095 }] }), 7, "4095"),
        (json!({ "vlanTrunk": [{ "minID": 7 }] }), 7, "maxID"),
        (json!({ "vlan": 5, "vlanTrunk": [{ "id": 6 }] }), 7, "vlanTrunk"),
        (json!({ "hairpinMode": true, "promiscMode": true }), 7, "hairpin"),
        (json!({ "disableContainerInterface": true }), 7, "IPAM"),
        (json!({ "ipMasqBackend": "ipfw" }), 7, "ipMasqBackend"),
        (mac("01:00:5e:00:00:01"), 7, "01:00:5e:00:00:01"),
        (mac("00:00:00:00:00:00"), 7, "runtimeConfig.mac"),
        (mac("02:00:00:00:00"), 7, "runtimeConfig.mac"),
        (json!({ "args": { "cni": { "mac": "03:00:00:00:00:01" } } }), 7, "args.cni.mac"),
        (ipam(json!(5)), 7, "ipam"),
        (ipam(json!({ "type": "no-such-ipam" })), 7, "no-such-ipam"),
        (ipam(json!({ "type": "../host-local" })), 7, "../host-local"),
        (ipam(conf::host_local(&["10.1.0.0"])), 7, "subnet"),
        (ipam(conf::host_local(&["10.1.0.0/16", "10.1.7.0/24"])), 7, "overlap"),
        (ipam(json!({ "type": "host-local" })), 7, "ranges"),
        // Found out only when IPAM has given an address.
        (conf::with(json!({ "mtu": 1000 }), ipam(conf::host_local(&["fd00:1::/64"]))), 7, "1280"),
        (json!({ "runtimeConfig": { "ips": ["10.7.0.1"] } }), 7, "10.7.0.1"),
        (json!({ "runtimeConfig": { "ips": ["10.1.0.1"] } }), 7, "10.1.0.1"),
    ] {
        ground.refuses(&keys.to_string(), &ground.call(keys.clone()), code, &[word]);
    }
}

#[test]
fn variables() {
    let ground = Ground::new();
    let call = || ground.call(json!({}));
    for variable in ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH"] {
        ground.refuses(variable, &call().without(variable), 4, &[variable]);
    }
    for (variable, value, word) in [
        ("CNI_CONTAINERID", "../x", "../x"),
        ("CNI_CONTAINERID", "a b", "CNI_CONTAINERID"),
        ("CNI_IFNAME", "../x", "../x"),
        ("CNI_IFNAME", "sixteen-bytes-xx", "sixteen-bytes-xx"),
        ("CNI_IFNAME", "..", "CNI_IFNAME"),
        ("CNI_ARGS", "NONSENSE", "NONSENSE"),
        ("CNI_ARGS", "K8S_POD_NAME=x", "K8S_POD_NAME"),
    ] {
        ground.refuses(&format!("{variable}={value}"), &call().env(variable, value), 4, &[word]);
    }
    ground.refuses("a multicast MAC", &call().args("MAC=03:00:00:00:00:01"), 7, &["CNI_ARGS", "03:00:00:00:00:01"]);
    assert_eq!(call().run("NOPE").failure().code, 4);
}

#[test]
fn namespaces() {
    let ground = Ground::new();
    let plain = ground.node.dir().join("plain");
    files::write(&plain, "");
    for (netns, words) in [
        (plain.to_str().unwrap(), &["plain file"][..]),
        ("/run/netns/gone", &["/run/netns/gone", "gone"]),
        ("/proc/self/ns/mnt", &["another kind"]),
        ("/run", &["directory"]),
        ("/proc/self/ns/net", &["CNI_NETNS"]),
    ] {
        ground.refuses(netns, &ground.call(json!({})).env("CNI_NETNS", netns), 8, words);
    }
}

#[test]
fn names_that_are_taken() {
    let ground = Ground::new();
    ground.node.sh(&["ip", "link", "add", "uplink", "type", "veth", "peer", "name", "eth0", "netns", "a"]);
    let bridge = ground.call(json!({ "bridge": "uplink" }));
    ground.refuses("a bridge that is a veth", &bridge, 7, &["uplink", "veth"]);
    ground.refuses("an interface name in use", &ground.call(json!({})), 999, &["eth0", "already exists", "pod-a"]);
    ground.refuses("lo", &ground.call(json!({})).ifname("lo"), 999, &["lo", "already exists"]);
    let call = ground.call(json!({})).ifname("net1");
    call.add().success();
    ground.refuses("the same attachment again", &call, 999, &["already attached", "net1", "DEL"]);
}

#[test]
fn stores() {
    let ground = Ground::new();
    let dir = ground.node.dir();
    let in_dir = |data_dir: &Path| {
        let mut ipam = conf::host_local(SUBNETS);
        ipam["dataDir"] = json!(data_dir);
        ground.call(json!({ "ipam": ipam }))
    };
    files::write(&dir.join("file"), "");
    ground.refuses("a file for a dataDir", &in_dir(&dir.join("file")), 5, &["file", "net"]);
    let read_only = dir.join("read-only");
    files::make_dir(&read_only);
    let path = read_only.to_str().unwrap();
    ground.node.sh(&["mount", "--bind", path, path]);
    ground.node.sh(&["mount", "-o", "remount,bind,ro", path]);
    ground.refuses("a read-only dataDir", &in_dir(&read_only), 5, &["read-only"]);
}

#[test]
fn a_full_range() {
    let ground = Ground::new();
    let other = ground.node.pod("b");
    let tiny = json!({ "ipam": conf::host_local(&["10.1.0.0/30"]) });
    ground.call(tiny.clone()).pod(&other).add().success();
    ground.refuses("a full range", &ground.call(tiny), 999, &["net", "10.1.0"]);
}

#[test]
fn ipam_plugins_that_fail_are_told_to_undo() {
    // What it does on ADD; the code, and what the error says; the verbs it has heard in the end.
    let no_address = r#"echo '{"cniVersion":"1.1.0","ips":[]}'"#;
    let garbled_address = r#"echo '{"cniVersion":"1.1.0","ips":[{"address":"10.1.0.2"}]}'"#;
    let error = r#"echo '{"cniVersion":"1.1.0","code":123,"msg":"no more of it","details":"in the moon"}'; exit 1"#;
    for (on_add, code, words, verbs) in [
        (error, 123, &["no more of it", "in the moon"][..], "ADD\n"),
        ("exit 3", 999, &["3"], "ADD\nDEL\n"),
        ("exec sleep 1000", 11, &["1 s", "killed"], "ADD\nDEL\n"),
        ("kill -9 $$", 999, &["signal 9"], "ADD\nDEL\n"),
        ("echo oops", 6, &["oops"], "ADD\nDEL\n"),
        ("echo '{\"ips\": 7}'", 6, &["ips"], "ADD\nDEL\n"),
        (garbled_address, 6, &["10.1.0.2"], "ADD\nDEL\n"),
        ("true", 6, &["no valid result"], "ADD\nDEL\n"),
        (no_address, 999, &["ips"], "ADD\nDEL\n"),
    ] {
        // A bridge that is there gets its port while the plugin runs.
        for bridge_is_there in [false, true] {
            let ground = Ground::new();
            let other = ground.node.pod("b");
            if bridge_is_there {
                ground.call(json!({})).pod(&other).add().success();
            }
            let heard = ground.node.dir().join("verbs");
            let note = format!("echo $CNI_COMMAND >>{}", heard.display());
            let script = format!("{note}\n[ $CNI_COMMAND = ADD ] || exit 0\n{on_add}");
            let plugins = BinDir::with_script(&ground.node, "fake", &script);
            let call = ground.call(json!({ "ipam": { "type": "fake" } })).env("CNI_PATH", plugins.path());
            // Not for those that answer: a machine may need a second to start a shell.
            let call = if on_add.contains("sleep") { call.env("PODLINK_DELEGATE_TIMEOUT", "1") } else { call };
            ground.refuses(on_add, &call, code, words);
            assert_eq!(std::fs::read_to_string(&heard).unwrap(), verbs, "{on_add}");
        }
    }
}

#[test]
fn an_answer_that_nobody_can_hear_is_undone() {
    let closed = || {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        Stdio::from(writer)
    };
    let full = || Stdio::from(File::options().write(true).open("/dev/full").unwrap());
    type Sink<'a> = &'a dyn Fn() -> Stdio;
    for (what, stdout, stderr) in [
        ("stdout closed", &closed as Sink<'_>, &Stdio::null as Sink<'_>),
        ("stdout full", &full, &Stdio::null),
        ("stdout and stderr closed", &closed, &closed),
    ] {
        let ground = Ground::new();
        let config = ground.node.dir().join("config");
        let call = ground.call(json!({}));
        std::fs::write(&config, call.input()).unwrap();
        let mut command = call.command("ADD");
        command.stdin(File::open(&config).unwrap()).stdout(stdout()).stderr(stderr());
        let status = ground.node.run(|| command.status().unwrap());
        assert_eq!(status.code(), Some(1), "{what}");
        assert_eq!((ground.node.link_names(), ground.pod.link_names()), (vec!["cni0".to_owned()], vec![]), "{what}");
        assert_eq!(ground.node.reserved("net"), Vec::<String>::new(), "{what}");
    }
}

#[test]
fn the_next_add_works() {
    let ground = Ground::new();
    let failed: Vec<Output> = [json!({ "mtu": 67 }), json!({ "runtimeConfig": { "ips": ["10.7.0.1"] } })]
        .map(|keys| ground.call(keys).add())
        .into();
    assert!(failed.iter().all(|output| output.code() == Some(1)));
    ground.call(json!({})).add().success();
    assert_eq!(ground.pod.addresses("eth0"), ["10.1.0.2/24"]);
}
