//! A node with an attachment that is played with, and one beside it that must not notice.

use podlink_tests::{BinDir, Call, Namespace, Node, Pod, files};
use serde_json::{Value, json};

/// What is on the node: pod `a`, of which the plugin is called, and pod `b`, which stays attached.
pub struct Scene {
    pub node: Node,
    pub a: Pod,
    pub b: Pod,
    pub bins: BinDir,
    /// The configuration of the plugin under test.
    pub config: Value,
    /// What the plugins before it in the chain returned, for each pod.
    pub previous: Option<[Value; 2]>,
    pub kind: Kind,
}

/// What follows from what the plugin does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It makes the interface and has an address given out.
    Interface,
    /// It gives out an address.
    Address,
    /// It keeps something on the node for the attachment.
    OnTheNode,
    /// It changes the pod, and only a call that is told of the pod's namespace can put it back.
    InThePod,
}

impl Scene {
    /// A call about pod `a`, as a runtime makes it.
    pub fn call(&self) -> Call<'_> {
        self.of(&self.a, 0)
    }

    /// The same about pod `b`.
    pub fn neighbours_call(&self) -> Call<'_> {
        self.of(&self.b, 1)
    }

    fn of(&self, pod: &Pod, index: usize) -> Call<'_> {
        let plugin = self.config["type"].as_str().unwrap_or_default();
        let mut config = self.config.clone();
        // Two pods cannot have one port of the node.
        for mapping in config["runtimeConfig"]["portMappings"].as_array_mut().into_iter().flatten() {
            mapping["hostPort"] = json!(mapping["hostPort"].as_u64().unwrap_or_default() + index as u64);
        }
        let call = self.node.plugin(&self.bins, plugin).config(&config).pod(pod);
        match &self.previous {
            Some(results) => call.prev_result(&results[index]),
            None => call,
        }
    }

    /// A call of GC to which only pod `b` is valid.
    pub fn gc_call(&self) -> Call<'_> {
        let mut config = self.config.clone();
        config["cni.dev/valid-attachments"] = json!([{ "containerID": "pod-b", "ifname": "eth0" }]);
        self.call().config(&config).without("CNI_CONTAINERID").without("CNI_NETNS").without("CNI_IFNAME")
    }

    /// DEL, told in turns all that it can be told, no namespace, and nothing but the name of the network.
    pub fn del(&self, turn: usize) {
        let call = self.call();
        match turn % 3 {
            _ if self.kind == Kind::InThePod => call,
            0 => call,
            1 => call.env("CNI_NETNS", ""),
            _ => call.config(&self.config).env("CNI_NETNS", ""),
        }
        .del()
        .success();
    }

    /// All that a call about pod `a` could have changed. Equal when nothing is left of it.
    pub fn left(&self) -> Value {
        json!({
            "node": state(&self.node),
            "a": state(&self.a),
            "b": state(&self.b),
            "rules": rules(&self.node),
            "qdiscs": qdiscs(&self.node),
            "files": self.files(),
        })
    }

    /// The same without pod `a`'s inside, for a verb that is not told of it.
    pub fn left_on_the_node(&self) -> Value {
        let mut left = self.left();
        if self.kind == Kind::InThePod {
            left["a"] = Value::Null;
        }
        left
    }

    /// Files of plugins, but for caches, locks, and the hint where a range goes on.
    fn files(&self) -> Value {
        let mut all = files::below(&self.node.dir().join("run/cni"));
        for (file, text) in files::below(&self.node.dir().join("run/podlink")) {
            all.insert(format!("podlink/{file}"), text);
        }
        for (file, text) in files::below(&self.node.outside("/var/lib/cni")) {
            all.insert(format!("lib/{file}"), text);
        }
        let kept = |file: &String| {
            let name = file.rsplit('/').next().unwrap_or_default();
            name != "lock" && !name.ends_with(".lock") && !name.starts_with("last_reserved_ip.")
        };
        all.retain(|file, _| kept(file));
        json!(all)
    }

    /// That the addresses of an ADD's result are pod `a`'s alone.
    #[track_caller]
    pub fn assert_held(&self, result: &Value, what: &str) {
        if matches!(self.kind, Kind::OnTheNode | Kind::InThePod) {
            return;
        }
        for ip in result["ips"].as_array().into_iter().flatten() {
            let ip = ip["address"].as_str().unwrap_or_default();
            let file = self.node.outside("/var/lib/cni/networks/net").join(ip.split('/').next().unwrap_or_default());
            let holder = std::fs::read_to_string(&file).unwrap_or_default();
            assert_eq!(holder, "pod-a\r\neth0", "{what}: the holder of {ip}");
            if self.kind == Kind::Interface {
                assert!(!on_eth0(&self.b).iter().any(|other| other == ip), "{what}: {ip} is pod b's");
                assert!(on_eth0(&self.a).iter().any(|own| own == ip), "{what}: {ip} is not on pod a's eth0");
            }
        }
    }
}

/// The addresses of the pod's interface; none when there is no interface.
pub fn on_eth0(pod: &Namespace) -> Vec<String> {
    if pod.link("eth0").is_some() { pod.addresses("eth0") } else { Vec::new() }
}

/// Compares two states and shows no more than what differs.
#[track_caller]
pub fn assert_same(found: &Value, expected: &Value, what: &str) {
    let mut differences = Vec::new();
    differ("", found, expected, &mut differences);
    assert!(differences.is_empty(), "{what}:\n{}", differences.join("\n"));
}

fn differ(path: &str, found: &Value, expected: &Value, differences: &mut Vec<String>) {
    match (found, expected) {
        _ if found == expected => {}
        (Value::Object(a), Value::Object(b)) if a.keys().eq(b.keys()) => {
            a.keys().for_each(|key| differ(&format!("{path}/{key}"), &a[key], &b[key], differences));
        }
        (Value::Array(a), Value::Array(b)) => {
            let without = |all: &[Value], others: &[Value]| -> Vec<Value> {
                let mut rest = all.to_vec();
                for other in others {
                    if let Some(at) = rest.iter().position(|item| item == other) {
                        rest.remove(at);
                    }
                }
                rest
            };
            differences.push(format!("{path}: found {}, expected {}", json!(without(a, b)), json!(without(b, a))));
        }
        _ => differences.push(format!("{path}: found {found}, expected {expected}")),
    }
}

/// Links with their addresses, and routes; without what the kernel finds out in its own time.
fn state(namespace: &Namespace) -> Value {
    let links = namespace.ip(&["-d", "addr", "show"]);
    let mut links: Vec<Value> = links.as_array().into_iter().flatten().map(link).collect();
    links.sort_by_key(|link| link["name"].to_string());
    let routes = namespace.routes().into_iter().map(|mut route| {
        route["flags"] = Value::Null;
        route
    });
    json!({ "links": links, "routes": routes.collect::<Vec<_>>() })
}

fn link(link: &Value) -> Value {
    let mut flags: Vec<&str> = link["flags"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    flags.retain(|flag| !["NO-CARRIER", "LOWER_UP", "M-DOWN"].contains(flag));
    // The kernel gives `lo` its addresses when it comes up, and IPv4 keeps its own when it goes down.
    let is_lo = link["ifname"] == "lo";
    let kept = |address: &&Value| !is_lo && address["scope"] != "link";
    let addresses = link["addr_info"].as_array().into_iter().flatten().filter(kept);
    let addresses: Vec<_> = addresses.map(|address| json!([address["local"], address["prefixlen"]])).collect();
    json!({
        "name": link["ifname"], "alias": link["ifalias"], "flags": flags, "mac": link["address"], "mtu": link["mtu"],
        "master": link["master"], "queue": link["txqlen"], "kind": link["linkinfo"]["info_kind"], "addresses": addresses,
        "promiscuity": link["promiscuity"], "port": link["linkinfo"]["info_slave_data"]["hairpin"],
    })
}

/// Those that a plugin made, but for the pods' hooks for filters: without a filter they do nothing, and they go with the
/// interface.
fn qdiscs(node: &Node) -> Value {
    let all = node.sh(&["tc", "qdisc", "show"]);
    of_words(all.lines().filter(|line| !line.contains("noqueue") && !line.starts_with("qdisc ingress")))
}

/// Every word of every rule, chain, set and element, sorted: the kernel lists elements in an order of its own.
fn rules(node: &Node) -> Value {
    let listed = node.sh(&["nft", "-s", "list", "ruleset"]);
    of_words(listed.lines())
}

fn of_words<'a>(lines: impl Iterator<Item = &'a str>) -> Value {
    let mut lines: Vec<String> = lines
        .map(|line| {
            let mut words: Vec<&str> = line.split([' ', '\t', ',']).filter(|word| !word.is_empty()).collect();
            if line.contains("elements") || !line.contains(" = {") && line.contains("comment \"podlink:") {
                words.sort_unstable();
            }
            words.join(" ")
        })
        .collect();
    lines.sort_unstable();
    json!(lines)
}
