//! A network: an ordered list of plugins with a name and a version (specification, "Network configuration format").

use std::path::{Path, PathBuf};

use cni::SpecVersion;
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use crate::error::Error;
use crate::plugin_conf::PluginConf;

/// A network configuration that passed libcni's checks; it has at least one plugin.
#[derive(Clone, Debug, PartialEq)]
pub struct NetworkList {
    name: String,
    cni_version: SpecVersion,
    disable_check: bool,
    disable_gc: bool,
    plugins: Vec<PluginConf>,
    bytes: Vec<u8>,
    file: Option<PathBuf>,
}

impl NetworkList {
    /// Reads a conflist that stands on its own: what `loadOnlyInlinedPlugins` says does not matter.
    ///
    /// # Errors
    /// [`Error::InvalidList`] with the key and the reason, [`Error::InvalidName`] for the network's name.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<NetworkList, Error> {
        let value = parse_json("network configuration", &bytes)?;
        Draft::read("network configuration".to_owned(), value)?.finish(Vec::new(), bytes, None)
    }

    /// The network's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The version its plugins are called in: `cniVersion`, or the newest of `cniVersions` that we support.
    pub fn cni_version(&self) -> SpecVersion {
        self.cni_version
    }

    /// `disableCheck`: CHECK does nothing.
    pub fn disable_check(&self) -> bool {
        self.disable_check
    }

    /// `disableGC`: GC does nothing.
    pub fn disable_gc(&self) -> bool {
        self.disable_gc
    }

    /// The chain, in ADD's order.
    pub fn plugins(&self) -> &[PluginConf] {
        &self.plugins
    }

    /// The list as JSON, as it is cached. A single plugin's configuration has been wrapped in a list. Plugins that came
    /// from a directory are not in it.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The file it was read from, if it was.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// The network for a message: its name and its file.
    pub(crate) fn label(&self) -> String {
        match &self.file {
            Some(file) => format!("network {:?} ({})", self.name, file.display()),
            None => format!("network {:?}", self.name),
        }
    }
}

/// A list that may still get plugins from a directory.
pub(crate) struct Draft {
    origin: String,
    keys: Keys,
    cni_version: SpecVersion,
    inlined: Vec<PluginConf>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Keys {
    name: String,
    cni_version: Option<String>,
    cni_versions: Option<Vec<String>>,
    #[serde(default, deserialize_with = "flag")]
    disable_check: bool,
    #[serde(default, rename = "disableGC", deserialize_with = "flag")]
    disable_gc: bool,
    #[serde(default, deserialize_with = "flag")]
    load_only_inlined_plugins: bool,
    plugins: Option<Vec<Value>>,
}

impl Draft {
    /// Reads what a list says itself; `origin` names it in errors.
    pub(crate) fn read(origin: String, value: Value) -> Result<Draft, Error> {
        let invalid = |reason: String| Error::InvalidList { origin: origin.clone(), reason };
        let mut keys: Keys = cni::read_json(&value).map_err(&invalid)?;
        if !cni::validate::is_identifier(&keys.name) {
            let rule = "is not an alphanumeric followed by alphanumerics, '_', '.' or '-'";
            return Err(Error::InvalidName { what: "network name", value: keys.name, rule });
        }
        let cni_version = choose_version(keys.cni_version.as_deref(), keys.cni_versions.as_deref()).map_err(invalid)?;
        let inlined = match keys.plugins.take() {
            Some(plugins) if plugins.is_empty() => return Err(invalid("no plugins in list".to_owned())),
            None if keys.load_only_inlined_plugins => {
                return Err(invalid("'loadOnlyInlinedPlugins' is true, and there is no 'plugins' key".to_owned()));
            }
            plugins => plugins.unwrap_or_default(),
        };
        let read = |(index, value)| {
            PluginConf::from_value(value).map_err(|reason| invalid(format!("plugins[{index}]: {reason}")))
        };
        let inlined = inlined.into_iter().enumerate().map(read).collect::<Result<_, _>>()?;
        Ok(Draft { origin, keys, cni_version, inlined })
    }

    /// Whether plugins are to be loaded from the network's own directory, too (libcni 1.3).
    pub(crate) fn wants_more(&self) -> bool {
        !self.keys.load_only_inlined_plugins
    }

    pub(crate) fn finish(
        self,
        more: Vec<PluginConf>,
        bytes: Vec<u8>,
        file: Option<PathBuf>,
    ) -> Result<NetworkList, Error> {
        let mut plugins = self.inlined;
        plugins.extend(more);
        if plugins.is_empty() {
            let reason = format!(
                "no plugin configs found: neither 'plugins' nor *.conf files in a directory {:?} beside it",
                self.keys.name
            );
            return Err(Error::InvalidList { origin: self.origin, reason });
        }
        Ok(NetworkList {
            name: self.keys.name,
            cni_version: self.cni_version,
            disable_check: self.keys.disable_check,
            disable_gc: self.keys.disable_gc,
            plugins,
            bytes,
            file,
        })
    }
}

/// A single plugin's configuration as a list with that one plugin (libcni's `ConfListFromConf`, keys in its order).
pub(crate) fn wrap(conf: Value) -> Value {
    let of = |key: &str| conf.get(key).cloned().unwrap_or_else(|| json!(""));
    json!({"cniVersion": of("cniVersion"), "name": of("name"), "plugins": [conf]})
}

pub(crate) fn parse_json(origin: &str, bytes: &[u8]) -> Result<Value, Error> {
    serde_json::from_slice(bytes)
        .map_err(|e| Error::InvalidList { origin: origin.to_owned(), reason: format!("it is no valid JSON: {e}") })
}

/// A bool, or `"true"` or `"false"` in any case, as libcni takes both.
fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Bool(value) => Ok(value),
        Value::String(text) if text.eq_ignore_ascii_case("true") => Ok(true),
        Value::String(text) if text.eq_ignore_ascii_case("false") => Ok(false),
        other => Err(serde::de::Error::custom(format!("expected true or false, found {other}"))),
    }
}

/// `cniVersions` lists what the network's plugins can do; the newest that we can do, too, is used. `Err` is the reason.
fn choose_version(single: Option<&str>, several: Option<&[String]>) -> Result<SpecVersion, String> {
    let supported = |text: &str| text.parse::<SpecVersion>().ok();
    let single = single.unwrap_or_default();
    let listed = several.unwrap_or_default();
    if let Some(bad) = listed.iter().find(|text| !is_version(text)) {
        return Err(format!("cniVersions: {bad:?} is not a version such as 1.0.0"));
    }
    if listed.is_empty() {
        let explain = || format!("cniVersion {single:?} is not one that we support: {}", SpecVersion::list());
        return supported(single).ok_or_else(explain);
    }
    let all = listed.iter().map(String::as_str).chain((!single.is_empty()).then_some(single));
    all.filter_map(supported)
        .max()
        .ok_or_else(|| format!("cniVersions has none that we support: {listed:?}; we support {}", SpecVersion::list()))
}

fn is_version(text: &str) -> bool {
    let parts: Vec<&str> = text.split('.').collect();
    parts.len() <= 3 && parts.iter().all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(value: Value) -> Result<NetworkList, Error> {
        NetworkList::from_bytes(value.to_string().into_bytes())
    }

    fn version(single: Option<&str>, several: &[&str]) -> Result<SpecVersion, String> {
        let several: Vec<String> = several.iter().map(|text| (*text).to_owned()).collect();
        choose_version(single, Some(&several))
    }

    #[test]
    fn the_newest_common_version_is_used() {
        assert_eq!(version(None, &["0.4.0", "1.1.0", "1.0.0", "9.0.0"]), Ok(SpecVersion::V1_1_0));
        assert_eq!(version(Some("1.0.0"), &["0.4.0", "2.0.0"]), Ok(SpecVersion::V1_0_0));
        assert_eq!(version(Some("9.0.0"), &["0.3.1", "0.5.0"]), Ok(SpecVersion::V0_3_1));
        assert_eq!(version(None, &[]), Ok(SpecVersion::V0_1_0));
        assert_eq!(choose_version(Some("0.4.0"), None), Ok(SpecVersion::V0_4_0));
        for (single, several, word) in
            [(Some("9.0.0"), &[][..], "9.0.0"), (None, &["9.0.0"], "9.0.0"), (None, &["1.0.0", "one"], "\"one\"")]
        {
            let reason = version(single, several).unwrap_err();
            assert!(reason.contains(word), "{reason}");
        }
    }

    #[test]
    fn flags_are_bools_or_their_names() {
        let read = |value: Value| {
            list(json!({"name": "n", "plugins": [{"type": "x"}], "disableCheck": value, "disableGC": value}))
        };
        for (value, expected) in
            [(json!(true), true), (json!("True"), true), (json!(false), false), (json!("false"), false)]
        {
            let list = read(value).unwrap();
            assert_eq!((list.disable_check(), list.disable_gc()), (expected, expected));
        }
        for bad in [json!("yes"), json!(1), json!([])] {
            assert!(read(bad).unwrap_err().to_string().contains("disableCheck"));
        }
    }

    #[test]
    fn bad_lists_say_which_key_and_why() {
        let plugins = json!([{"type": "x"}]);
        for (bad, word) in [
            (json!([1]), "invalid type"),
            (json!({"plugins": plugins}), "name"),
            (json!({"name": 5, "plugins": plugins}), "name"),
            (json!({"name": "../n", "plugins": plugins}), "../n"),
            (json!({"name": "n"}), "no plugin configs"),
            (json!({"name": "n", "loadOnlyInlinedPlugins": true}), "loadOnlyInlinedPlugins"),
            (json!({"name": "n", "plugins": []}), "no plugins"),
            (json!({"name": "n", "plugins": {}}), "plugins"),
            (json!({"name": "n", "plugins": [{"type": "x"}, {}]}), "plugins[1]: missing 'type'"),
            (json!({"name": "n", "cniVersion": 1, "plugins": plugins}), "cniVersion"),
        ] {
            let error = list(bad.clone()).unwrap_err().to_string();
            assert!(error.contains(word), "{bad}: {error}");
        }
        assert!(NetworkList::from_bytes(b"{".to_vec()).unwrap_err().to_string().contains("JSON"));
    }

    #[test]
    fn a_single_plugin_becomes_a_list_as_libcni_writes_it() {
        let wrapped = wrap(json!({"type": "bridge", "name": "n", "mtu": 9}));
        let text = r#"{"cniVersion":"","name":"n","plugins":[{"type":"bridge","name":"n","mtu":9}]}"#;
        assert_eq!(wrapped.to_string(), text);
        assert_eq!(list(wrapped).unwrap().cni_version(), SpecVersion::V0_1_0);
    }
}
