//! Makes what two implementations did comparable: what the kernel picks at random gets a label in order of appearance.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::Namespace;

/// Labels for MAC addresses and generated interface names. Use one per implementation, over all of its output, so that
/// the same address in two places keeps the same label.
#[derive(Debug, Default)]
pub struct Labels {
    seen: BTreeMap<String, String>,
    counts: BTreeMap<&'static str, usize>,
    any_mac: Option<String>,
}

impl Labels {
    /// Labels that leave out the MAC of the interface `name`, for where implementations differ on purpose.
    pub fn with_any_mac_of(name: &str) -> Self {
        Self { any_mac: Some(name.to_owned()), ..Self::default() }
    }

    /// A copy of a CNI result (or any JSON) with labels for MAC addresses and generated names (`veth…`), and without
    /// empty objects, empty arrays and nulls, which in a result mean the same as absence.
    pub fn result(&mut self, result: &Value) -> Value {
        match result {
            Value::String(text) => Value::String(self.text(text)),
            Value::Array(items) => items.iter().map(|i| self.result(i)).collect(),
            Value::Object(object) => {
                let any_mac =
                    self.any_mac.is_some() && object.get("name").and_then(Value::as_str) == self.any_mac.as_deref();
                let compared = object.iter().filter(|(k, _)| !(any_mac && *k == "mac"));
                let entries = compared.map(|(k, v)| (k.clone(), self.result(v)));
                Value::Object(entries.filter(|(_, v)| !is_empty(v)).collect())
            }
            other => other.clone(),
        }
    }

    /// What is in a namespace that a plugin may have changed: links, addresses, routes and forwarding, sorted by name.
    ///
    /// Whether there is a carrier is left out: the kernel finds out in its own time.
    pub fn kernel(&mut self, namespace: &Namespace) -> Value {
        let mut links = namespace.links();
        links.sort_by_key(|link| link["ifname"].to_string());
        let links: Vec<Value> = links.iter().map(|link| self.link(namespace, link)).collect();
        let routes = namespace.routes().iter().map(|route| self.result(&without_carrier(route))).collect::<Vec<_>>();
        let sysctls = ["net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"];
        let sysctls: Map<String, Value> =
            sysctls.into_iter().map(|s| (s.to_owned(), namespace.sysctl(s).into())).collect();
        json!({ "links": links, "routes": routes, "sysctls": sysctls })
    }

    fn link(&mut self, namespace: &Namespace, link: &Value) -> Value {
        let name = link["ifname"].as_str().unwrap_or_default();
        let link = &without_carrier(link);
        let info = &link["linkinfo"];
        self.result(&json!({
            "name": name,
            "kind": info["info_kind"],
            "mac": link["address"],
            "master": link["master"],
            "mtu": link["mtu"],
            "flags": link["flags"],
            "promiscuity": link["promiscuity"],
            "hairpin": info["info_slave_data"]["hairpin"],
            "isolated": info["info_slave_data"]["isolated"],
            "vlan_filtering": info["info_data"]["vlan_filtering"],
            "addresses": namespace.addresses(name),
        }))
    }

    fn text(&mut self, text: &str) -> String {
        let kind = if is_mac(text) {
            "mac"
        } else if text.strip_prefix("veth").is_some_and(|rest| !rest.is_empty()) {
            "veth"
        } else {
            return text.to_owned();
        };
        let count = self.counts.entry(kind).or_default();
        self.seen
            .entry(text.to_owned())
            .or_insert_with(|| {
                *count += 1;
                format!("<{kind} {count}>")
            })
            .clone()
    }
}

/// A link or route without the flags that follow from the carrier.
fn without_carrier(item: &Value) -> Value {
    let mut item = item.clone();
    if let Some(flags) = item["flags"].as_array_mut() {
        flags.retain(|flag| !["NO-CARRIER", "LOWER_UP", "M-DOWN", "linkdown"].iter().any(|f| flag == f));
    }
    item
}

fn is_mac(text: &str) -> bool {
    let parts: Vec<&str> = text.split(':').collect();
    parts.len() == 6 && parts.iter().all(|p| p.len() == 2 && p.bytes().all(|b| b.is_ascii_hexdigit()))
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(entries) => entries.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_mac_gets_the_same_label_and_another_one_another() {
        let mut labels = Labels::default();
        let result =
            labels.result(&json!({ "a": "aa:bb:cc:dd:ee:01", "b": "aa:bb:cc:dd:ee:02", "c": "aa:bb:cc:dd:ee:01" }));
        assert_eq!(result, json!({ "a": "<mac 1>", "b": "<mac 2>", "c": "<mac 1>" }));
    }

    #[test]
    fn a_mac_that_may_be_any_is_left_out_for_its_interface_only() {
        let mac = "aa:bb:cc:dd:ee:01";
        let given = json!([{ "name": "cni0", "mac": mac }, { "name": "eth0", "mac": mac }]);
        let result = Labels::with_any_mac_of("cni0").result(&given);
        assert_eq!(result, json!([{ "name": "cni0" }, { "name": "eth0", "mac": "<mac 1>" }]));
    }

    #[test]
    fn empty_values_are_absent_and_everything_else_stays() {
        let given =
            json!({ "dns": {}, "routes": [], "mtu": null, "n": 0, "ip": "fd00::1", "if": "veth12ab", "k": "veth" });
        let result = Labels::default().result(&given);
        assert_eq!(result, json!({ "n": 0, "ip": "fd00::1", "if": "<veth 1>", "k": "veth" }));
    }
}
