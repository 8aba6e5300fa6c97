//! The network configuration on stdin: what every plugin's has in common, and how a plugin reads its own keys.

use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::caseless;
use crate::error::{Error, ErrorCode};
use crate::json;
use crate::known::{KnownKeys, UnknownKey};
use crate::result::CniResult;
use crate::validate;
use crate::version::SpecVersion;

/// Where the attachments are that GC must keep: now, and in older versions of libcni.
const ATTACHMENT_LISTS: [&str; 2] = ["cni.dev/valid-attachments", "cni.dev/attachments"];

/// What uniquely names one pod interface within a network (specification, "Parameters").
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Attachment {
    /// `CNI_CONTAINERID`.
    #[serde(rename = "containerID")]
    pub container_id: String,
    /// `CNI_IFNAME`.
    pub ifname: String,
}

impl fmt::Display for Attachment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "container {} interface {}", self.container_id, self.ifname)
    }
}

/// A network configuration that passed the checks common to all plugins.
#[derive(Clone, Debug)]
pub struct NetConf {
    /// `cniVersion`: the version to answer in.
    pub cni_version: SpecVersion,
    /// `name`: the network, unique on the node.
    pub name: String,
    bytes: Vec<u8>,
    fields: Value,
    /// Set where somebody wants to know which keys are read.
    known: Option<KnownKeys>,
}

impl NetConf {
    /// Reads a configuration and checks `cniVersion` and `name`.
    ///
    /// # Errors
    /// Code 6 for what is no JSON object, code 1 for an unknown version, code 7 for a missing or invalid name.
    pub fn parse(bytes: Vec<u8>) -> Result<NetConf, Error> {
        let config = NetConf::parse_unnamed(bytes)?;
        if config.name.is_empty() {
            return Err(Error::new(ErrorCode::INVALID_CONFIG, "missing network name")
                .with_details("the config's \"name\" key is required"));
        }
        if !validate::is_identifier(&config.name) {
            let msg = format!("invalid characters found in network name {:?}", config.name);
            return Err(Error::new(ErrorCode::INVALID_CONFIG, msg)
                .with_details("expected an alphanumeric, then alphanumerics, '_', '.' or '-'"));
        }
        Ok(config)
    }

    /// The same without the rule for `name`.
    fn parse_unnamed(bytes: Vec<u8>) -> Result<NetConf, Error> {
        let undecodable = |why: String| {
            Error::new(ErrorCode::DECODE, "error unmarshall network config: the config on stdin is not valid")
                .with_details(why)
        };
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Err(undecodable("it is empty; expected a JSON object".to_owned()));
        }
        let text = std::str::from_utf8(&bytes).map_err(|e| undecodable(format!("it is not UTF-8: {e}")))?;
        let mut value: Value = serde_json::from_str(text).map_err(|e| undecodable(e.to_string()))?;
        let Some(object) = value.as_object_mut() else {
            return Err(undecodable("it is JSON, but not an object".to_owned()));
        };
        for key in ATTACHMENT_LISTS {
            if let Some(list @ Value::Null) = object.get_mut(key) {
                // What Go makes of a list without items.
                *list = Value::Array(Vec::new());
            }
        }
        let fields = json::without_nulls(&value);
        let text_of = |key: &str| match caseless::get(&fields, key) {
            None => Ok(String::new()),
            Some(Value::String(text)) => Ok(text.clone()),
            Some(other) => Err(undecodable(format!("{key}: expected a string, found {other}"))),
        };
        Ok(NetConf { cni_version: text_of("cniVersion")?.parse()?, name: text_of("name")?, bytes, fields, known: None })
    }

    /// Reads the keys a plugin knows into its own type; others are left alone.
    ///
    /// # Errors
    /// Code 7 that names the key and what is wrong with its value.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, Error> {
        caseless::read_watched(&self.fields, self.known.as_ref()).map_err(|e| {
            Error::new(ErrorCode::INVALID_CONFIG, format!("failed to load netconf of network {:?}: {e}", self.name))
        })
    }

    /// From now on remembers which keys are read.
    pub(crate) fn watched(mut self) -> NetConf {
        self.known = Some(KnownKeys::default());
        self
    }

    /// The keys that no [`NetConf::read`] has asked for, if they were watched.
    pub(crate) fn unknown_keys(&self) -> Vec<UnknownKey> {
        self.known.as_ref().map(|known| known.unknown(&self.fields)).unwrap_or_default()
    }

    /// The text at a key of the config itself; `None` where it is absent, or no text.
    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        caseless::get(&self.fields, key).and_then(Value::as_str)
    }

    /// The result of the ADD or plugin before this one; `None` where it is absent, null or `{}`.
    ///
    /// # Errors
    /// As [`CniResult::from_value`].
    pub fn prev_result(&self) -> Result<Option<CniResult>, Error> {
        match caseless::get(&self.fields, "prevResult") {
            None => Ok(None),
            Some(Value::Object(fields)) if fields.is_empty() => Ok(None),
            Some(value) => CniResult::from_value(value, self.cni_version)
                .map(Some)
                .map_err(|e| e.context(format!("prevResult of network {:?}", self.name))),
        }
    }

    /// The same where it only helps to find what is to be removed: one that cannot be read tells nothing, and must not keep a pod
    /// from going.
    pub fn prev_result_if_valid(&self) -> CniResult {
        self.prev_result().ok().flatten().unwrap_or_default()
    }

    /// The IPAM plugin, `ipam.type`, whatever else is in the config; `None` where it names none.
    ///
    /// # Errors
    /// Code 7 when it is no text.
    pub fn ipam_type(&self) -> Result<Option<String>, Error> {
        #[derive(Deserialize)]
        struct Keys {
            #[serde(default)]
            ipam: Ipam,
        }
        #[derive(Default, Deserialize)]
        struct Ipam {
            #[serde(rename = "type", default)]
            plugin: String,
        }
        Ok(Some(self.read::<Keys>()?.ipam.plugin).filter(|plugin| !plugin.is_empty()))
    }

    /// The attachments GC must keep: `cni.dev/valid-attachments`, or `cni.dev/attachments` as older libcni named it.
    ///
    /// # Errors
    /// Code 7 when neither is there: an absent list must not mean "none valid".
    pub fn valid_attachments(&self) -> Result<Vec<Attachment>, Error> {
        #[derive(Deserialize)]
        struct Keys {
            #[serde(rename = "cni.dev/valid-attachments")]
            valid: Option<Vec<Attachment>>,
            #[serde(rename = "cni.dev/attachments")]
            older: Option<Vec<Attachment>>,
        }
        let keys: Keys = self.read()?;
        keys.valid.or(keys.older).ok_or_else(|| {
            let msg = format!("GC of network {:?}: the config has no cni.dev/valid-attachments", self.name);
            Error::new(ErrorCode::INVALID_CONFIG, msg)
                .with_details("an empty list means that no attachment is valid; a missing one could be a mistake")
        })
    }

    /// The configuration as it came, for a delegated plugin.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse(value: Value) -> Result<NetConf, Error> {
        NetConf::parse(value.to_string().into_bytes())
    }

    #[test]
    fn bad_configs_have_the_specs_codes() {
        for (text, code) in [
            ("", ErrorCode::DECODE),
            ("{", ErrorCode::DECODE),
            ("[]", ErrorCode::DECODE),
            (r#"{"name": 5}"#, ErrorCode::DECODE),
            (r#"{"cniVersion": "1.0.0"}"#, ErrorCode::INVALID_CONFIG),
            (r#"{"cniVersion": "1.0.0", "name": "../x"}"#, ErrorCode::INVALID_CONFIG),
            (r#"{"cniVersion": "7.0.0", "name": "x"}"#, ErrorCode::INCOMPATIBLE_VERSION),
        ] {
            assert_eq!(NetConf::parse(text.into()).unwrap_err().code, code, "{text}");
        }
        assert_eq!(NetConf::parse(b"{\"name\": \"\xff\"}".to_vec()).unwrap_err().code, ErrorCode::DECODE);
    }

    #[test]
    fn a_plugin_reads_its_keys_and_is_told_where_they_are_wrong() {
        #[derive(Deserialize, Debug)]
        struct Own {
            #[serde(default)]
            mtu: u32,
            #[serde(default)]
            list: Vec<Own>,
        }
        let conf = parse(json!({"name": "n", "mtu": null, "vendor": {"x": 1}})).unwrap();
        assert_eq!(conf.read::<Own>().unwrap().mtu, 0);
        let conf = parse(json!({"name": "n", "list": [{"mtu": "x"}]})).unwrap();
        let error = conf.read::<Own>().unwrap_err();
        assert!(error.msg.contains("list[0].mtu"), "{error}");
        assert!(conf.read::<Own>().map(|own| own.list).is_err());
    }

    #[test]
    fn an_empty_prev_result_is_none() {
        for prev in [json!(null), json!({})] {
            assert_eq!(parse(json!({"name": "n", "prevResult": prev})).unwrap().prev_result().unwrap(), None);
        }
        assert!(parse(json!({"name": "n", "prevResult": 5})).unwrap().prev_result().is_err());
    }

    #[test]
    fn absent_attachments_are_an_error_and_none_are_not() {
        assert_eq!(
            parse(json!({"name": "n"})).unwrap().valid_attachments().unwrap_err().code,
            ErrorCode::INVALID_CONFIG
        );
        for key in ATTACHMENT_LISTS {
            assert_eq!(parse(json!({"name": "n", key: null})).unwrap().valid_attachments().unwrap(), []);
            assert_eq!(parse(json!({"name": "n", key: []})).unwrap().valid_attachments().unwrap(), []);
            let conf = parse(json!({"name": "n", key: [{"containerID": "a", "ifname": "eth0"}]})).unwrap();
            assert_eq!(conf.valid_attachments().unwrap()[0].to_string(), "container a interface eth0");
        }
    }
}
