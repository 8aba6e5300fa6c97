//! One plugin of a chain: its configuration, and what the runtime puts into it for a call.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Map, Value};

/// The configuration of one plugin in a network's chain.
#[derive(Clone, Debug, PartialEq)]
pub struct PluginConf {
    plugin_type: String,
    capabilities: Vec<String>,
    fields: Map<String, Value>,
}

impl PluginConf {
    /// Reads `type` and `capabilities`; the other keys are the plugin's own. `Err` is the reason.
    pub(crate) fn from_value(value: Value) -> Result<PluginConf, String> {
        #[derive(Deserialize)]
        struct Known {
            #[serde(rename = "type")]
            plugin_type: Option<String>,
            capabilities: Option<BTreeMap<String, bool>>,
        }
        let known: Known = cni::read_json(&value)?;
        let plugin_type = known.plugin_type.unwrap_or_default();
        if plugin_type.is_empty() {
            return Err("missing 'type'".to_owned());
        }
        let Value::Object(fields) = value else { return Err("not an object".to_owned()) };
        let declared = known.capabilities.unwrap_or_default().into_iter();
        let capabilities = declared.filter(|(_, enabled)| *enabled).map(|(name, _)| name).collect();
        Ok(PluginConf { plugin_type, capabilities, fields })
    }

    /// `type`: the name of the plugin's executable.
    pub fn plugin_type(&self) -> &str {
        &self.plugin_type
    }

    /// What the plugin takes in `runtimeConfig`: the keys of `capabilities` that are true, in alphabetical order.
    pub fn capabilities(&self) -> &[String] {
        &self.capabilities
    }

    /// The `runtimeConfig` to give it: those of the runtime's arguments it has the capability for. `None` if none.
    pub(crate) fn runtime_config(&self, arguments: &Map<String, Value>) -> Option<Value> {
        let wanted = self.capabilities.iter().filter_map(|name| Some((name.clone(), arguments.get(name)?.clone())));
        let chosen: Map<String, Value> = wanted.collect();
        (!chosen.is_empty()).then_some(Value::Object(chosen))
    }

    /// Its configuration for one call: its own keys in their order, with `injected` in place of or after them.
    pub(crate) fn with(&self, injected: &[(&str, &Value)]) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(&Injected { own: &self.fields, injected })
    }
}

/// Written out without a copy of its values: a list of valid attachments can have megabytes.
struct Injected<'a> {
    own: &'a Map<String, Value>,
    injected: &'a [(&'a str, &'a Value)],
}

impl Serialize for Injected<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (key, value) in self.own {
            let replaced = self.injected.iter().find(|(name, _)| name == key);
            map.serialize_entry(key, replaced.map_or(value, |(_, value)| value))?;
        }
        for (key, value) in self.injected.iter().filter(|(key, _)| !self.own.contains_key(*key)) {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn conf(value: Value) -> PluginConf {
        PluginConf::from_value(value).unwrap()
    }

    #[test]
    fn injected_keys_replace_in_place_or_follow_and_the_rest_stays_as_it_is() {
        let conf = conf(json!({"zeta": [1, {"b": null, "a": 2}], "name": "old", "type": "x", "alpha": "ä<&>"}));
        let bytes = conf.with(&[("name", &json!("n")), ("cniVersion", &json!("1.0.0"))]).unwrap();
        assert_eq!(
            String::from_utf8(bytes).unwrap(),
            r#"{"zeta":[1,{"b":null,"a":2}],"name":"n","type":"x","alpha":"ä<&>","cniVersion":"1.0.0"}"#
        );
    }

    #[test]
    fn only_declared_capabilities_are_passed() {
        let conf = conf(json!({"type": "x", "capabilities": {"portMappings": true, "bandwidth": false, "ips": true}}));
        assert_eq!(conf.capabilities(), ["ips", "portMappings"]);
        let args = json!({"portMappings": [{"hostPort": 80}], "bandwidth": {}, "mac": "x"});
        let config = conf.runtime_config(args.as_object().unwrap());
        assert_eq!(config, Some(json!({"portMappings": [{"hostPort": 80}]})));
        assert_eq!(conf.runtime_config(&Map::new()), None);
    }

    #[test]
    fn a_type_is_required_and_types_are_checked() {
        for (bad, word) in [
            (json!({}), "type"),
            (json!({"type": ""}), "type"),
            (json!({"type": null}), "type"),
            (json!({"type": 5}), "type"),
            (json!("bridge"), "invalid type"),
            (json!({"type": "x", "capabilities": {"ips": "yes"}}), "capabilities.ips"),
        ] {
            let reason = PluginConf::from_value(bad.clone()).unwrap_err();
            assert!(reason.contains(word), "{bad}: {reason}");
        }
    }
}
