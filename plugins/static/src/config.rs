//! What the user and the runtime may say. Of the places an address may come from, `runtimeConfig.ips` counts before
//! `args.cni.ips`, and each of these before `ipam.addresses`; `IP` of `CNI_ARGS` is given besides `ipam.addresses`.

use std::net::IpAddr;

use cni::{Cidr, Dns, Error, ErrorCode, IpConfig, NetworkCall, Route, SpecVersion};
use serde::{Deserialize, Deserializer, de};

/// A pod's addresses, routes and DNS settings.
#[derive(Debug)]
pub(crate) struct Config {
    /// The addresses, in the order given.
    pub(crate) ips: Vec<IpConfig>,
    /// `ipam.routes`.
    pub(crate) routes: Vec<Route>,
    /// `ipam.dns`.
    pub(crate) dns: Dns,
}

#[derive(Deserialize)]
struct Keys {
    ipam: Option<IpamKeys>,
    #[serde(default)]
    args: ArgsKeys,
    #[serde(rename = "runtimeConfig", default)]
    runtime_config: IpsKey,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct IpamKeys {
    addresses: Vec<AddressKeys>,
    routes: Vec<Route>,
    dns: Dns,
}

#[derive(Deserialize)]
struct AddressKeys {
    address: Cidr,
    #[serde(default, deserialize_with = "gateway")]
    gateway: Option<IpAddr>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ArgsKeys {
    cni: IpsKey,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct IpsKey {
    ips: Vec<Cidr>,
}

impl Config {
    /// Reads and checks everything.
    ///
    /// # Errors
    /// Code 7, or 4 for `CNI_ARGS`; the message names the key.
    pub(crate) fn read(call: &NetworkCall) -> Result<Config, Error> {
        let keys: Keys = call.config.read()?;
        let invalid = |what: String| {
            Error::new(ErrorCode::INVALID_CONFIG, format!("IPAM config of network {:?}: {what}", call.config.name))
        };
        let ipam = keys.ipam.ok_or_else(|| invalid("missing 'ipam' key".to_owned()))?;
        let given = |ip: Cidr| IpConfig { interface: None, address: ip, gateway: None };
        let mut ips: Vec<IpConfig> =
            ipam.addresses.iter().map(|keys| IpConfig { gateway: keys.gateway, ..given(keys.address) }).collect();
        let asked = items(call, "IP", "an address with a prefix length, such as 10.1.2.3/24")?;
        let gateways: Vec<IpAddr> = items(call, "GATEWAY", "an IP address, such as 10.1.2.1")?;
        // Of several that fit, the reference takes the last. It gives them to the addresses of `IP` only.
        let gateway = |ip: &Cidr| gateways.iter().rev().find(|gateway| ip.0.contains(**gateway)).copied();
        ips.extend(asked.into_iter().map(|ip| IpConfig { gateway: gateway(&ip), ..given(ip) }));
        let instead = [keys.runtime_config.ips, keys.args.cni.ips].into_iter().find(|ips| !ips.is_empty());
        if let Some(instead) = instead {
            ips = instead.into_iter().map(given).collect();
        }
        check_count(&ips, call.config.cni_version).map_err(invalid)?;
        Ok(Config { ips, routes: ipam.routes, dns: ipam.dns })
    }
}

/// The values of a key of `CNI_ARGS`, which are separated by ','.
fn items<T: std::str::FromStr>(call: &NetworkCall, key: &str, expected: &str) -> Result<Vec<T>, Error> {
    let text = call.args.get(key).unwrap_or_default();
    let item = |item: &str| {
        item.trim().parse().map_err(|_| {
            let msg = format!("network {:?}: CNI_ARGS: {key}={text}: {item:?} is not {expected}", call.config.name);
            Error::new(ErrorCode::INVALID_ENVIRONMENT, msg)
        })
    };
    text.split(',').filter(|_| !text.is_empty()).map(item).collect()
}

/// Older results have one place for an address of each family.
fn check_count(ips: &[IpConfig], version: SpecVersion) -> Result<(), String> {
    let v4 = ips.iter().filter(|ip| ip.address.ip().is_ipv4()).count();
    let v6 = ips.len() - v4;
    if version < SpecVersion::V0_3_0 && (v4 > 1 || v6 > 1) {
        return Err(format!(
            "CNI version {version} does not support more than 1 address per family, but there are {v4} IPv4 and {v6} \
             IPv6 addresses: set cniVersion to 0.3.0 or newer"
        ));
    }
    Ok(())
}

/// An address without prefix length; an empty string is none, as Go reads it.
fn gateway<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<IpAddr>, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| de::Error::custom(format!("{text:?} is not an IP address, such as 10.1.2.1")))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(config: Value, args: &str) -> Result<Vec<String>, Error> {
        let mut whole = json!({ "cniVersion": "1.0.0", "name": "net", "type": "bridge" });
        config.as_object().unwrap().iter().for_each(|(key, value)| whole[key] = value.clone());
        let config = Config::read(&NetworkCall::from_parts(whole.to_string().into_bytes(), args)?)?;
        let gateway = |ip: &IpConfig| ip.gateway.map(|gateway| format!(" via {gateway}")).unwrap_or_default();
        Ok(config.ips.iter().map(|ip| format!("{}{}", ip.address, gateway(ip))).collect())
    }

    fn two() -> Value {
        json!({ "addresses": [{ "address": "10.1.0.2/24", "gateway": "10.1.0.1" }, { "address": "10.2.0.2/24", "gateway": "" }] })
    }

    #[test]
    fn where_the_addresses_come_from() {
        let both = ["10.1.0.2/24 via 10.1.0.1", "10.2.0.2/24"];
        assert_eq!(read(json!({ "ipam": two() }), "").unwrap(), both);
        let args = "IP=10.3.0.2/24, fd00::2/64;GATEWAY=10.2.0.1,fd00::1,192.0.2.1";
        let expected = ["10.1.0.2/24 via 10.1.0.1", "10.2.0.2/24", "10.3.0.2/24", "fd00::2/64 via fd00::1"];
        assert_eq!(read(json!({ "ipam": two() }), args).unwrap(), expected);
        let asked = json!({ "ipam": two(), "args": { "cni": { "ips": ["10.4.0.2/24"] } } });
        assert_eq!(read(asked.clone(), args).unwrap(), ["10.4.0.2/24"]);
        let mut runtime = asked;
        runtime["runtimeConfig"] = json!({ "ips": ["10.5.0.2/24"] });
        assert_eq!(read(runtime.clone(), args).unwrap(), ["10.5.0.2/24"]);
        runtime["runtimeConfig"]["ips"] = json!([]);
        assert_eq!(read(runtime, args).unwrap(), ["10.4.0.2/24"]);
        assert_eq!(read(json!({ "ipam": {} }), "").unwrap(), [""; 0]);
    }

    #[test]
    fn mistakes_name_the_key() {
        for (config, args, words) in [
            (json!({}), "", "'ipam'"),
            (json!({ "ipam": { "addresses": [{ "address": "10.1.0.2" }] } }), "", "ipam.addresses[0].address"),
            (json!({ "ipam": { "addresses": [{}] } }), "", "ipam.addresses[0]"),
            (
                json!({ "ipam": { "addresses": [{ "address": "10.1.0.2/24", "gateway": "x" }] } }),
                "",
                "ipam.addresses[0].gateway",
            ),
            (json!({ "ipam": {}, "args": { "cni": { "ips": ["10.1.0.2"] } } }), "", "args.cni.ips[0]"),
            (json!({ "ipam": {}, "runtimeConfig": { "ips": ["x/24"] } }), "", "runtimeConfig.ips[0]"),
            (json!({ "ipam": {} }), "IP=10.1.0.2", "IP=10.1.0.2"),
            (json!({ "ipam": {} }), "GATEWAY=10.1.0.1/24", "GATEWAY=10.1.0.1/24"),
            (json!({ "ipam": two(), "cniVersion": "0.2.0" }), "", "more than 1 address per family"),
        ] {
            let error = read(config.clone(), args).unwrap_err();
            assert!(error.to_string().contains(words), "{config} {args}: {error}");
        }
    }
}
