//! What the user may say, and the config that the delegated plugin gets for it.

use std::path::PathBuf;

use cni::{Error, ErrorCode, NetworkCall, Route};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::subnet::Subnet;

/// A JSON object: the config of a plugin.
pub(crate) type Object = Map<String, Value>;

/// The plugin that does the work unless the config names another.
const BRIDGE: &str = "bridge";
/// What of a call's config concerns this call alone, and goes to the delegated plugin as it is.
const OF_THE_CALL: [&str; 3] = ["prevResult", "cni.dev/valid-attachments", "cni.dev/attachments"];

/// A flannel network's config.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// `subnetFile`.
    pub(crate) subnet_file: PathBuf,
    /// `dataDir`: where each container's delegated config is kept.
    pub(crate) data_dir: PathBuf,
    delegate: Object,
    ipam: Object,
    runtime_config: Option<Object>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Keys {
    subnet_file: PathBuf,
    data_dir: PathBuf,
    delegate: Object,
    ipam: Object,
    runtime_config: Option<Object>,
}

impl Default for Keys {
    fn default() -> Keys {
        Keys {
            subnet_file: "/run/flannel/subnet.env".into(),
            data_dir: "/var/lib/cni/flannel".into(),
            delegate: Object::new(),
            ipam: Object::new(),
            runtime_config: None,
        }
    }
}

impl Config {
    /// Reads the config of a call and checks what can be checked without looking at the node.
    ///
    /// # Errors
    /// Code 7; the message names the key.
    pub(crate) fn read(call: &NetworkCall) -> Result<Config, Error> {
        let Keys { subnet_file, data_dir, delegate, ipam, runtime_config } = call.config.read()?;
        let config = Config { subnet_file, data_dir, delegate, ipam, runtime_config };
        let invalid =
            |msg: String| Error::new(ErrorCode::INVALID_CONFIG, format!("network {:?}: {msg}", call.config.name));
        for key in ["name", "ipam"] {
            if config.delegate.contains_key(key) {
                let msg = format!("'delegate' dictionary must not have '{key}' field, it'll be set by flannel");
                return Err(invalid(msg).with_details(format!("put {key} beside delegate, not into it")));
            }
        }
        if config.delegate.get("type").is_some_and(|plugin| !plugin.is_string()) {
            return Err(invalid("'delegate' dictionary, if present, must have (string) 'type' field".to_owned()));
        }
        if config.plugin() == "flannel" {
            return Err(invalid("delegate.type: flannel cannot delegate to itself".to_owned())
                .with_details("name the plugin that makes the pod's interface, such as bridge or ptp"));
        }
        if let Some(routes) = config.ipam.get("routes") {
            let read: Result<Vec<Route>, _> = serde_json::from_value(routes.clone());
            read.map_err(|e| invalid(format!("failed to parse ipam.routes: {e}")))?;
        }
        Ok(config)
    }

    /// The same for DEL and GC, which must work with a config that has become invalid since the ADD: what cannot be read is as
    /// if it were not there.
    ///
    /// # Errors
    /// Code 7 for a `dataDir` that is no text.
    pub(crate) fn read_for_removal(call: &NetworkCall) -> Result<Config, Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase", default)]
        struct Only {
            data_dir: PathBuf,
            delegate: Value,
            ipam: Value,
        }
        impl Default for Only {
            fn default() -> Only {
                Only { data_dir: Keys::default().data_dir, delegate: Value::Null, ipam: Value::Null }
            }
        }
        let Only { data_dir, delegate, ipam } = call.config.read()?;
        let object = |value| match value {
            Value::Object(object) => object,
            _ => Object::new(),
        };
        let mut delegate = object(delegate);
        delegate.retain(|key, value| key != "type" || value.is_string());
        let mut ipam = object(ipam);
        ipam.retain(|key, value| !matches!(key.as_str(), "type" | "dataDir") || value.is_string());
        Ok(Config { subnet_file: PathBuf::new(), data_dir, delegate, ipam, runtime_config: None })
    }

    /// The type of the delegated plugin.
    pub(crate) fn plugin(&self) -> &str {
        plugin_of(&self.delegate)
    }

    /// The delegated plugin's config. Without `subnet` it says whose attachment it is and where its address is kept, which is
    /// enough to remove it.
    pub(crate) fn delegated(&self, call: &NetworkCall, subnet: Option<&Subnet>) -> Object {
        let mut config = self.delegate.clone();
        let mut ipam = self.ipam.clone();
        config.insert("name".to_owned(), json!(call.config.name));
        config.insert("cniVersion".to_owned(), json!(call.config.cni_version.as_str()));
        set_default(&mut config, "type", json!(BRIDGE));
        set_default(&mut ipam, "type", json!("host-local"));
        if let Some(runtime_config) = &self.runtime_config {
            config.insert("runtimeConfig".to_owned(), json!(runtime_config));
        }
        if let Some(subnet) = subnet {
            // One of the two masquerades.
            set_default(&mut config, "ipMasq", json!(!subnet.masquerades));
            set_default(&mut config, "mtu", json!(subnet.mtu));
            if plugin_of(&config) == BRIDGE {
                set_default(&mut config, "isGateway", json!(true));
            }
            ipam.insert("ranges".to_owned(), subnet.ranges());
            let mut routes = ipam.get("routes").and_then(Value::as_array).cloned().unwrap_or_default();
            routes.extend(subnet.networks.iter().map(|network| json!({ "dst": network })));
            ipam.insert("routes".to_owned(), Value::Array(routes));
        }
        config.insert("ipam".to_owned(), Value::Object(ipam));
        config
    }
}

/// The type of the plugin that `config` is for.
pub(crate) fn plugin_of(config: &Object) -> &str {
    config.get("type").and_then(Value::as_str).unwrap_or(BRIDGE)
}

/// A delegated config as it is for this call: in its version, with what the runtime said this time.
///
/// # Errors
/// Code 7 where the call's config cannot be read.
pub(crate) fn for_this_call(mut config: Object, call: &NetworkCall) -> Result<Object, Error> {
    let given: Object = call.config.read()?;
    config.insert("cniVersion".to_owned(), json!(call.config.cni_version.as_str()));
    for key in OF_THE_CALL.into_iter().chain(["runtimeConfig"]) {
        if let Some(value) = given.get(key) {
            config.insert(key.to_owned(), value.clone());
        }
    }
    Ok(config)
}

fn set_default(object: &mut Object, key: &str, value: Value) {
    object.entry(key).or_insert(value);
}

#[cfg(test)]
mod tests;
