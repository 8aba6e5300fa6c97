//! What the user may say in a point-to-point network's config.

use cni::{Dns, Error, ErrorCode, NetworkCall};
use masquerade::Backend;
use serde::Deserialize;

/// What the kernel takes for a veth (`ETH_MIN_MTU`, `ETH_MAX_MTU`).
const MTU: std::ops::RangeInclusive<u32> = 68..=65535;

/// A point-to-point network's config, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// `mtu` of both ends, in bytes; `None` leaves it to the kernel.
    pub mtu: Option<u32>,
    /// `ipMasq`: pods leave the node under its own address.
    pub masquerade: bool,
    /// `ipMasqBackend`; `None` leaves the choice to us.
    pub masquerade_backend: Option<Backend>,
    /// `ipam.type`.
    pub ipam: String,
    /// `dns`: replaces what the IPAM plugin says.
    pub dns: Dns,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Keys {
    ip_masq: bool,
    ip_masq_backend: Option<Backend>,
    mtu: u32,
    dns: Dns,
}

impl Config {
    /// Reads the config of a call and checks what can be checked without looking at the node.
    ///
    /// # Errors
    /// Code 7; the message names the key. Code 4 for `CNI_ARGS`.
    pub fn read(call: &NetworkCall) -> Result<Config, Error> {
        let keys: Keys = call.config.read()?;
        let invalid =
            |msg: String| Error::new(ErrorCode::INVALID_CONFIG, format!("network {:?}: {msg}", call.config.name));
        let mtu = Some(keys.mtu).filter(|mtu| *mtu != 0);
        if let Some(mtu) = mtu.filter(|mtu| !MTU.contains(mtu)) {
            return Err(invalid(format!("mtu: {mtu} is out of range, expected {} to {}", MTU.start(), MTU.end())));
        }
        let Some(ipam) = call.config.ipam_type()? else {
            return Err(invalid("ipam.type is missing".to_owned()).with_details(
                "ptp routes the pod's addresses, so it needs a plugin that gives some, such as host-local",
            ));
        };
        call.args.reject_unknown()?;
        Ok(Config { mtu, masquerade: keys.ip_masq, masquerade_backend: keys.ip_masq_backend, ipam, dns: keys.dns })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(keys: Value) -> Result<Config, Error> {
        let mut config =
            json!({ "cniVersion": "1.0.0", "name": "net", "type": "ptp", "ipam": { "type": "host-local" } });
        for (key, value) in keys.as_object().unwrap() {
            config[key] = value.clone();
        }
        Config::read(&NetworkCall::from_parts(config.to_string().into_bytes(), "")?)
    }

    #[test]
    fn every_key() {
        let config = read(json!({})).unwrap();
        assert_eq!((config.mtu, config.masquerade, config.masquerade_backend), (None, false, None));
        assert!(config.dns.is_empty());
        let keys = json!({ "mtu": 1400, "ipMasq": true, "ipMasqBackend": "iptables", "dns": { "domain": "d" } });
        let config = read(keys).unwrap();
        assert_eq!((config.mtu, config.masquerade), (Some(1400), true));
        assert_eq!((config.masquerade_backend, config.dns.domain.as_str()), (Some(Backend::Iptables), "d"));
    }

    #[test]
    fn mistakes_name_the_key() {
        for (keys, word) in [
            (json!({ "mtu": 67 }), "mtu: 67"),
            (json!({ "mtu": 65536 }), "mtu: 65536"),
            (json!({ "ipMasqBackend": "ipfw" }), "ipMasqBackend"),
            (json!({ "ipam": {} }), "ipam.type"),
            (json!({ "ipam": null }), "ipam.type"),
        ] {
            let error = read(keys.clone()).unwrap_err();
            assert!(error.code == ErrorCode::INVALID_CONFIG && error.msg.contains(word), "{keys}: {error}");
        }
    }
}
