//! A node with one network, as an operator finds it.

use std::path::PathBuf;
use std::process::Command;

use podlink_tests::files;
use podlink_tests::process::Finished;
use podlink_tests::{BinDir, Node, PodId};
use serde_json::{Value, json};

/// A node whose network `net` is a bridge with masquerading and host ports.
pub struct Site {
    pub node: Node,
    bins: BinDir,
}

/// Whether the runtime remembers its pods where podlink looks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Records {
    Kept,
    Lost,
}

impl Site {
    /// Each test has a subnet of its own: other tests' processes can be seen, and what addresses their namespaces have.
    pub fn new(subnet: &str) -> Site {
        Site::of(subnet, BinDir::ours())
    }

    /// The same with the reference's plugins.
    pub fn of(subnet: &str, bins: BinDir) -> Site {
        let site = Site { node: Node::new(), bins };
        site.configure(subnet);
        site
    }

    /// Writes the network's config.
    pub fn configure(&self, subnet: &str) {
        files::make_dir(&self.conf_dir());
        let ipam = json!({ "type": "host-local", "ranges": [[{ "subnet": subnet }]] });
        let bridge = json!({ "type": "bridge", "bridge": "inv0", "isGateway": true, "ipMasq": true, "ipam": ipam });
        let portmap = json!({ "type": "portmap", "capabilities": { "portMappings": true } });
        let list = json!({ "cniVersion": "1.0.0", "name": "net", "plugins": [bridge, portmap] });
        files::write(&self.conf_dir().join("10-net.conflist"), &list.to_string());
    }

    fn conf_dir(&self) -> PathBuf {
        self.node.dir().join("conf")
    }

    /// What a runtime does, with a host port.
    pub fn runtime(&self, verb: &str, pod: &impl AsRef<PodId>, records: Records, port: u16) -> Finished {
        let mut cnitool = Command::new(BinDir::ours().plugin("cnitool"));
        cnitool.args([verb, "net"]).arg(&pod.as_ref().netns);
        if records == Records::Lost {
            cnitool.arg("--cache-dir").arg(self.node.dir().join("elsewhere"));
        }
        let ports = json!({ "portMappings": [{ "hostPort": port, "containerPort": 80, "protocol": "tcp" }] });
        cnitool
            .env("NETCONFPATH", self.conf_dir())
            .env("CNI_PATH", self.bins.path())
            .env("CAP_ARGS", ports.to_string());
        self.node.finish(&mut cnitool, b"")
    }

    /// Attaches a pod; its address.
    pub fn add(&self, pod: &impl AsRef<PodId>, records: Records, port: u16) -> String {
        let result: Value = serde_json::from_str(&self.runtime("add", pod, records, port).success()).unwrap();
        let address = result["ips"][0]["address"].as_str().unwrap();
        address.split('/').next().unwrap().to_owned()
    }

    /// The operator's tool.
    pub fn podlink(&self, line: &[&str]) -> Finished {
        let mut command = Command::new(BinDir::ours().plugin("podlink"));
        command.args(line).arg("--conf-dir").arg(self.conf_dir());
        self.node.finish(&mut command, b"")
    }

    /// Its answer in JSON, whatever its exit code, which comes first.
    pub fn json(&self, line: &[&str]) -> (i32, Value) {
        let finished = self.podlink(&[line, &["--json"]].concat());
        let value = serde_json::from_str(&finished.stdout).unwrap_or_else(|e| panic!("no JSON ({e}): {finished}"));
        (finished.code.unwrap(), value)
    }

    /// The verdict on an address and its evidence.
    pub fn verdict(&self, address: &str) -> (String, String) {
        let (_, all) = self.json(&["ipam", "show", address]);
        let evidence: Vec<_> = all[0]["evidence"].as_array().unwrap().iter().map(|one| one.as_str().unwrap()).collect();
        (all[0]["verdict"].as_str().unwrap_or_default().to_owned(), evidence.join("; "))
    }

    /// What `leaks` finds, as `kind what`, those that are dead and those that may be; and its exit code.
    pub fn leaks(&self) -> (i32, Vec<String>, Vec<String>) {
        let (code, report) = self.json(&["leaks"]);
        assert_eq!(report["problems"], json!([]), "{report}");
        (code, names(&report["dead"]), names(&report["suspected"]))
    }

    /// Takes out the dead; what was removed.
    pub fn gc(&self) -> Vec<String> {
        let (code, report) = self.json(&["gc"]);
        assert_eq!((code, &report["problems"]), (0, &json!([])), "{report}");
        names(&report["dead"])
    }

    /// All that podlink's tools may change.
    pub fn state(&self) -> Value {
        let stores = files::below(&self.node.outside("/var/lib/cni"));
        let mut links = self.node.link_names();
        links.sort();
        json!({ "stores": stores, "links": links, "rules": self.node.sh(&["nft", "-s", "list", "ruleset"]) })
    }

    /// The lines of the node's rules that name something.
    pub fn rules_with(&self, text: &str) -> Vec<String> {
        let rules = self.node.sh(&["nft", "-s", "list", "ruleset"]);
        rules.lines().filter(|line| line.contains(text)).map(|line| line.trim().to_owned()).collect()
    }

    /// Makes the files of all addresses as old as those whose ADD must have ended.
    pub fn age_all(&self) {
        self.node.reserved("net").iter().for_each(|address| self.age(address));
    }

    /// Makes the file of an address as old as one whose ADD must have ended.
    pub fn age(&self, address: &str) {
        let file = self.node.outside("/var/lib/cni/networks/net").join(address);
        self.node.sh(&["touch", "-d", "1 hour ago", file.to_str().unwrap()]);
    }

    /// Waits until the kernel has removed what belonged to a pod that is gone.
    pub fn until_no_pair_but(&self, count: usize) {
        let pairs =
            |of: &podlink_tests::Namespace| of.link_names().iter().filter(|name| name.starts_with("veth")).count();
        self.node.wait_until("the pod's pair is gone", |node| pairs(node) == count);
    }
}

fn names(found: &Value) -> Vec<String> {
    let text = |one: &Value, key: &str| one[key].as_str().unwrap_or_default().to_owned();
    let mut names: Vec<_> =
        found.as_array().unwrap().iter().map(|one| format!("{} {}", text(one, "kind"), text(one, "what"))).collect();
    names.sort();
    names
}
