//! What the kernel says about a namespace, through iproute2 and /proc/sys.

use serde_json::{Value, json};

use crate::Namespace;

impl Namespace {
    /// The answer of `ip -j <args>`: an array; empty when `ip` prints nothing.
    #[track_caller]
    pub fn ip(&self, args: &[&str]) -> Value {
        self.ask("ip", args)
    }

    /// Everything known of the link `name` (`ip -j -d link show`), `None` when there is none.
    pub fn link(&self, name: &str) -> Option<Value> {
        self.links().into_iter().find(|link| link["ifname"] == name)
    }

    /// Every link with its details, `lo` included.
    pub fn links(&self) -> Vec<Value> {
        list(self.ask("ip", &["-d", "link", "show"]))
    }

    /// The names of every link but `lo`.
    pub fn link_names(&self) -> Vec<String> {
        self.links().iter().filter_map(|l| l["ifname"].as_str()).filter(|n| *n != "lo").map(str::to_owned).collect()
    }

    /// The addresses of the link `name` as `address/prefix`, link-local ones left out, sorted.
    pub fn addresses(&self, name: &str) -> Vec<String> {
        let mut found: Vec<String> = list(self.ip(&["addr", "show", "dev", name]))
            .iter()
            .flat_map(|link| list(link["addr_info"].clone()))
            .filter(|a| a["scope"] != "link")
            .map(|a| format!("{}/{}", a["local"].as_str().unwrap_or_default(), a["prefixlen"]))
            .collect();
        found.sort();
        found
    }

    /// The routes of the main table, IPv4 then IPv6, link-local and multicast ones left out.
    pub fn routes(&self) -> Vec<Value> {
        let mut found = list(self.ip(&["-4", "route", "show"]));
        found.extend(list(self.ip(&["-6", "route", "show"])));
        found.retain(|r| !r["dst"].as_str().is_some_and(|d| d.starts_with("fe80:") || d.starts_with("ff00:")));
        found
    }

    /// The value of a sysctl, `path` below /proc/sys, for instance `net/ipv4/ip_forward`. Panics when there is none.
    #[track_caller]
    pub fn sysctl(&self, path: &str) -> String {
        let file = format!("/proc/sys/{path}");
        // Below /proc/sys/net a thread sees the values of its own network namespace.
        let value = self.run(|| std::fs::read_to_string(&file));
        value.unwrap_or_else(|e| panic!("reading {file}: {e}")).trim().to_owned()
    }

    /// What the rule plugins keep for pods: lines of nf_tables, iptables' included, that hold an element of a set or map, a
    /// chain of a container's host ports, or one of `names`, such as an address or a container ID.
    pub fn rules_of_pods(&self, names: &[&str]) -> Vec<String> {
        let rules = self.sh(&["nft", "list", "ruleset"]);
        let of_pods =
            |line: &&str| ["elements =", "CNI-DN-", "CNI-SN-"].iter().chain(names).any(|name| line.contains(name));
        rules.lines().filter(of_pods).map(|line| line.trim().to_owned()).collect()
    }

    /// The VLANs of a bridge or bridge port: `[{"vlan": 100, "flags": ["PVID", "Egress Untagged"]}]`.
    pub fn vlans(&self, name: &str) -> Value {
        list(self.ask("bridge", &["vlan", "show"]))
            .into_iter()
            .find(|port| port["ifname"] == name)
            .map_or(json!([]), |port| port["vlans"].clone())
    }

    fn ask(&self, tool: &str, args: &[&str]) -> Value {
        let line: Vec<&str> = [tool, "-j"].into_iter().chain(args.iter().copied()).collect();
        let answer = self.sh(&line);
        if answer.trim().is_empty() {
            return json!([]);
        }
        serde_json::from_str(&answer).unwrap_or_else(|e| panic!("`{}` printed no JSON ({e}): {answer}", line.join(" ")))
    }
}

/// The items of an array, none for anything else. `ip` prints `{}` for hidden items: those are left out.
fn list(value: Value) -> Vec<Value> {
    match value {
        Value::Array(items) => items.into_iter().filter(|i| i.as_object().is_some_and(|o| !o.is_empty())).collect(),
        _ => Vec::new(),
    }
}
