//! `podlink doctor` on a node: what it sees there, and that it changes nothing.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::path::Path;
use std::process::Command;

use podlink_tests::process::Finished;
use podlink_tests::{BinDir, Node};
use serde_json::{Value, json};

fn doctor(node: &Node, path: &Path, more: &[&str]) -> Finished {
    let bins = BinDir::ours();
    let mut command = Command::new(bins.plugin("podlink"));
    command.arg("doctor").arg(path).arg("--bin-dir").arg(bins.path()).args(more);
    node.finish(&mut command, b"")
}

fn findings(node: &Node, path: &Path) -> Vec<Value> {
    let finished = doctor(node, path, &["--json"]);
    let Ok(Value::Array(findings)) = serde_json::from_str(&finished.stdout) else { panic!("{finished}") };
    let has_error = findings.iter().any(|finding| finding["severity"] == "error");
    assert_eq!(finished.code, Some(i32::from(has_error)), "{finished}");
    findings
}

fn bridge(subnet: &str, keys: Value) -> Value {
    let ipam = json!({ "type": "host-local", "ranges": [[{ "subnet": subnet }]] });
    podlink_tests::conf::with(json!({ "type": "bridge", "bridge": "br7", "isGateway": true, "ipam": ipam }), keys)
}

/// A config in a directory of its own on the node.
fn write(node: &Node, file: &str, name: &str, plugins: Value) -> std::path::PathBuf {
    let dir = node.dir().join("net.d");
    std::fs::create_dir_all(&dir).unwrap();
    let list = json!({ "cniVersion": "1.1.0", "name": name, "plugins": plugins });
    std::fs::write(dir.join(file), serde_json::to_string_pretty(&list).unwrap()).unwrap();
    dir.join(file)
}

#[test]
fn the_examples_have_nothing_wrong() {
    let node = Node::new();
    node.sh(&["sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"]);
    let mut seen = 0;
    for entry in std::fs::read_dir(podlink_tests::example::dir()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|suffix| suffix != "conflist") {
            continue;
        }
        let dir = node.dir().join(format!("alone-{seen}"));
        std::fs::create_dir(&dir).unwrap();
        let file = dir.join(path.file_name().unwrap());
        std::fs::copy(&path, &file).unwrap();
        let mut findings = findings(&node, &file);
        // What a kernel lacks is not the example's fault.
        findings.retain(|finding| !finding["what"].as_str().unwrap().starts_with("the kernel has no"));
        // A gateway outside of the subnet is what this one shows, and the doctor has only a note on it.
        findings.retain(|finding| !path.ends_with("22-routed.conflist") || finding["severity"] != "note");
        assert_eq!(findings, [Value::Null; 0], "{}", path.display());
        seen += 1;
    }
    assert!(seen > 5);
}

#[test]
fn what_the_node_has_is_seen_and_left_as_it_is() {
    let node = Node::new();
    node.sh(&["ip", "link", "add", "eth0", "type", "veth", "peer", "name", "br7"]);
    node.sh(&["ip", "addr", "add", "10.7.3.1/24", "dev", "eth0"]);
    for name in ["eth0", "br7"] {
        node.sh(&["ip", "link", "set", name, "up"]);
    }
    node.sh(&["ip", "route", "add", "10.8.0.0/16", "dev", "eth0"]);
    node.sh(&["iptables", "-P", "FORWARD", "DROP"]);
    node.sh(&["sysctl", "-qw", "net.ipv4.ip_forward=0"]);
    let is_up = |name: &str| node.link(name).is_some_and(|link| link["operstate"] == "UP");
    node.wait_until("both ends are up", |_| is_up("eth0") && is_up("br7"));
    let before = (node.links(), node.sh(&["nft", "list", "ruleset"]), node.routes());
    let list = json!([
        bridge("10.7.0.0/16", json!({ "isGatway": true })),
        { "type": "bridge", "bridge": "br8", "isGateway": true, "ipam": { "type": "host-local", "subnet": "10.8.0.0/24" } },
        { "type": "portmap" },
        { "type": "nowhere" },
    ]);
    let file = write(&node, "7.conflist", "seven", list);
    let findings = findings(&node, &file);
    let has = |severity: &str, plugin: u64, key: &str, words: &str| {
        let fits = |finding: &&Value| {
            finding["severity"] == severity
                && finding["plugin"] == plugin
                && (key.is_empty() || finding["key"] == key)
                && finding["what"].as_str().unwrap().contains(words)
        };
        assert!(findings.iter().any(|finding| fits(&finding)), "no {severity} {words:?} in {findings:#?}");
    };
    has("warning", 0, "isGatway", "not known");
    has("error", 0, "ipam.ranges[0][0]", "eth0 (10.7.3.1/24)");
    has("error", 0, "bridge", "veth interface");
    has("warning", 0, "", "FORWARD");
    has("note", 0, "", "does not forward IPv4");
    has("error", 1, "", "which bridge before it");
    has("warning", 1, "ipam", "10.8.0.0/16 by eth0");
    has("warning", 2, "capabilities", "portMappings");
    has("error", 3, "type", "\"nowhere\"");
    // What every machine that runs these tests has.
    assert!(
        !findings.iter().any(|finding| finding["what"].as_str().unwrap().contains("the kernel has no")),
        "{findings:#?}"
    );
    assert_eq!(before, (node.links(), node.sh(&["nft", "list", "ruleset"]), node.routes()));

    let text = doctor(&node, &file, &[]);
    assert!(text.code == Some(1) && text.stdout.contains("did you mean \"isGateway\"?"), "{text}");
}

#[test]
fn each_plugin_says_which_keys_it_reads_and_what_it_refuses() {
    let node = Node::new();
    let ranges = json!([[{ "subnet": "10.7.0.0/24" }], [{ "subnet": "10.7.0.128/25" }]]);
    let list = json!([
        bridge("10.7.0.0/24", json!({ "macspoofcheck": true, "ipam": { "type": "host-local", "ranges": ranges, "datadirs": "/x" } })),
        { "type": "portmap", "snatt": false, "capabilities": { "portMappings": true } },
        { "type": "firewall", "ingresPolicy": "isolated" },
        { "type": "tuning", "sysctls": { "net.core.somaxconn": "500" } },
        { "type": "bandwidth", "ingressRate": 5, "ingresBurst": 1000 },
    ]);
    let findings = findings(&node, &write(&node, "7.conflist", "seven", list));
    for (plugin, key, near) in [
        (0, "macspoofcheck", "macspoofchk"),
        (0, "ipam.datadirs", "dataDir"),
        (1, "snatt", "snat"),
        (2, "ingresPolicy", "ingressPolicy"),
        (3, "sysctls", "sysctl"),
        (4, "ingresBurst", "ingressBurst"),
    ] {
        let found = findings.iter().find(|finding| finding["plugin"] == plugin && finding["key"] == key);
        let advice = found.and_then(|found| found["advice"].as_str());
        assert_eq!(advice, Some(format!("did you mean {near:?}?").as_str()), "{key}: {findings:#?}");
    }
    let errors: Vec<_> =
        findings.iter().filter(|it| it["severity"] == "error").map(|it| it["what"].as_str().unwrap()).collect();
    assert_eq!(errors.len(), 2, "{findings:#?}");
    assert!(errors[0].contains("overlaps with") && errors[1].contains("ingressRate"), "{errors:?}");
}

#[test]
fn a_directory_is_checked_as_a_whole() {
    let node = Node::new();
    write(&node, "10-a.conflist", "a", json!([bridge("10.7.0.0/24", json!({}))]));
    let second = write(&node, "20-b.conflist", "b", json!([bridge("10.7.0.0/16", json!({ "bridge": "br9" }))]));
    std::fs::write(second.with_file_name("30-c.conf"), "{ \"name\": \"c\",\n }").unwrap();
    let findings = findings(&node, second.parent().unwrap());
    let errors: Vec<_> = findings.iter().filter(|finding| finding["severity"] == "error").collect();
    assert_eq!(errors.len(), 2, "{findings:#?}");
    assert_eq!(errors[0]["file"], second.to_str().unwrap());
    assert!(errors[0]["what"].as_str().unwrap().contains("10-a.conflist"), "{errors:?}");
    assert!(errors[1]["what"].as_str().unwrap().contains("line 2 column 2"), "{errors:?}");

    let none = doctor(&node, &node.dir().join("nowhere"), &[]);
    assert!(none.code == Some(1) && none.stdout.contains("no such file"), "{none}");
}

#[test]
fn without_root_what_cannot_be_seen_is_not_guessed() {
    let node = Node::new();
    node.sh(&["sysctl", "-qw", "net.ipv4.ip_forward=1"]);
    let file = write(&node, "7.conflist", "seven", json!([bridge("10.7.0.0/24", json!({ "vlan": 5 }))]));
    let bins = BinDir::ours();
    node.sh(&["chmod", "-R", "a+rX", node.dir().to_str().unwrap()]);
    // The program may be where only root can read it.
    let copy = node.dir().join("podlink");
    podlink_tests::files::copy_program(&bins.plugin("podlink"), &copy);
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&copy).arg("doctor").arg(&file);
    let plugins = node.dir().join("bin");
    std::fs::create_dir(&plugins).unwrap();
    for name in ["bridge", "host-local"] {
        std::os::unix::fs::symlink("/bin/true", plugins.join(name)).unwrap();
    }
    let finished = node.finish(command.arg("--bin-dir").arg(&plugins), b"");
    assert_eq!(finished.clone().success(), format!("{}: nothing to complain of\n", file.display()), "{finished}");
}
