//! Which keys of a config nobody reads. What is known is what the plugins' own code asks for while it reads the config, so that no
//! list of keys has to be kept.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;

/// Keys that any plugin's config may have: the specification's, what runtimes add, and ours (log.rs).
const COMMON: [&str; 13] = [
    "cniVersion",
    "name",
    "type",
    "args",
    "ipam",
    "dns",
    "capabilities",
    "runtimeConfig",
    "prevResult",
    "disableCheck",
    "cni.dev/valid-attachments",
    "cni.dev/attachments",
    "podlinkLog",
];
/// What is in these is between the runtime and whoever understands it.
const OPEN: [&str; 4] = ["args", "capabilities", "runtimeConfig", "prevResult"];

/// A key that no plugin of ours looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownKey {
    /// The object it is in: `ipam.ranges[0][0]`; empty for the config itself.
    pub place: String,
    /// The key.
    pub key: String,
    /// The keys that this object may have.
    pub known: Vec<&'static str>,
}

impl UnknownKey {
    /// The key with its place: `ipam.ranges[0][0].subent`.
    pub fn path(&self) -> String {
        child(&self.place, &self.key)
    }
}

/// By the place of each object that was read into a struct, the keys of the structs.
#[derive(Clone, Debug, Default)]
pub(crate) struct KnownKeys(Arc<Mutex<BTreeMap<String, BTreeSet<&'static str>>>>);

impl KnownKeys {
    /// The object at `place` is being read into a struct with these keys.
    pub(crate) fn add(&self, place: &str, keys: &'static [&'static str]) {
        let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        places.entry(place.to_owned()).or_default().extend(keys);
    }

    /// The keys of `config` that were in none of the structs.
    pub(crate) fn unknown(&self, config: &Value) -> Vec<UnknownKey> {
        let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        places.entry(String::new()).or_default().extend(COMMON);
        let mut unknown = Vec::new();
        walk(config, "", &places, &mut unknown);
        unknown
    }
}

fn walk(value: &Value, place: &str, places: &BTreeMap<String, BTreeSet<&'static str>>, unknown: &mut Vec<UnknownKey>) {
    match value {
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(i, item)| walk(item, &format!("{place}[{i}]"), places, unknown));
        }
        // An object that was not read into a struct may have any keys.
        Value::Object(fields) => {
            let Some(known) = places.get(place) else { return };
            for (key, value) in fields {
                match known.iter().find(|known| known.eq_ignore_ascii_case(key)) {
                    Some(known) if place.is_empty() && OPEN.contains(known) => {}
                    Some(known) => walk(value, &child(place, known), places, unknown),
                    None => unknown.push(UnknownKey {
                        place: place.to_owned(),
                        key: key.clone(),
                        known: known.iter().copied().collect(),
                    }),
                }
            }
        }
        _ => {}
    }
}

/// The place of what is at `key` of the object at `place`.
pub(crate) fn child(place: &str, key: &str) -> String {
    if place.is_empty() { key.to_owned() } else { format!("{place}.{key}") }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use crate::call::NetworkCall;

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase", default)]
    #[derive(Default)]
    #[allow(dead_code, reason = "what is read is not looked at")]
    struct Own {
        is_gateway: bool,
        ranges: Vec<Vec<Range>>,
        free: std::collections::BTreeMap<String, u8>,
        args: Option<Range>,
    }

    #[derive(Deserialize)]
    #[serde(default)]
    #[derive(Default)]
    #[allow(dead_code, reason = "what is read is not looked at")]
    struct Range {
        subnet: String,
    }

    #[derive(Deserialize)]
    #[allow(dead_code, reason = "what is read is not looked at")]
    struct More {
        mtu: Option<u32>,
    }

    #[test]
    fn what_nobody_reads_is_told_with_its_place() {
        let config = json!({
            "cniVersion": "1.0.0", "name": "n", "type": "x", "ISGATEWAY": true, "isGatway": true, "mtu": 1400,
            "ranges": [[{ "subnet": "a" }, { "subent": "b" }]], "Ranges2": {}, "gone": null,
            "free": { "any": 1 }, "args": { "what": "ever" },
        });
        let call = NetworkCall::to_examine(config.to_string().into_bytes()).unwrap();
        call.config.read::<Own>().unwrap();
        call.config.read::<More>().unwrap();
        let unknown = call.unknown_keys();
        let paths: Vec<_> = unknown.iter().map(super::UnknownKey::path).collect();
        assert_eq!(paths, ["isGatway", "ranges[0][1].subent", "Ranges2"]);
        assert_eq!(unknown[1].known, ["subnet"]);
        assert!(unknown[0].known.contains(&"isGateway") && unknown[0].known.contains(&"mtu"));
    }

    #[test]
    fn the_keys_are_known_also_where_a_value_is_wrong() {
        let call = NetworkCall::to_examine(br#"{"name": "n", "isGateway": 5, "x": 1}"#.to_vec()).unwrap();
        assert!(call.config.read::<Own>().is_err());
        assert_eq!(call.unknown_keys().len(), 1);
    }
}
