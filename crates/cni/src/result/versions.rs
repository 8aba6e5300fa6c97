//! The result in the shape of each version of the specification.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{CniResult, Dns, IpConfig, Route};
use crate::caseless;
use crate::cidr::Cidr;
use crate::error::{Error, ErrorCode};
use crate::json;
use crate::version::SpecVersion;

impl CniResult {
    /// The JSON to print for a caller that speaks `version`. What the version has no place for is left out.
    pub fn to_json(&self, version: SpecVersion) -> String {
        json::pretty(&self.to_value(version))
    }

    /// The same as a JSON value; `prevResult` for the next plugin of a chain.
    pub fn to_value(&self, version: SpecVersion) -> Value {
        let mut fields = match version {
            SpecVersion::V0_1_0 | SpecVersion::V0_2_0 => serde_json::to_value(Legacy::from(self)),
            _ => serde_json::to_value(self),
        }
        .unwrap_or_default();
        if version < SpecVersion::V1_1_0 {
            remove_from_each(&mut fields["interfaces"], &["mtu", "socketPath", "pciID"]);
            remove_from_each(&mut fields["routes"], &["mtu", "advmss", "priority", "table", "scope"]);
        }
        if (SpecVersion::V0_3_0..SpecVersion::V1_0_0).contains(&version) {
            for (value, ip) in fields["ips"].as_array_mut().into_iter().flatten().zip(&self.ips) {
                value["version"] = if ip.address.ip().is_ipv4() { "4" } else { "6" }.into();
            }
        }
        let mut out = serde_json::Map::new();
        out.insert("cniVersion".to_owned(), version.as_str().into());
        if let Value::Object(fields) = fields {
            out.extend(fields.into_iter().filter(|(_, value)| !value.is_null()));
        }
        Value::Object(out)
    }

    /// Reads a result of any version. Its own `cniVersion` says which; where it has none, `config_version` does.
    ///
    /// # Errors
    /// Code 1 for a version we do not know, code 6 for something that is not a result; the message says where.
    pub fn from_value(value: &Value, config_version: SpecVersion) -> Result<CniResult, Error> {
        let version = match value.get("cniVersion").and_then(Value::as_str) {
            Some(text) if !text.is_empty() => text.parse()?,
            _ => config_version,
        };
        let value = json::without_nulls(value);
        let read = match version {
            SpecVersion::V0_1_0 | SpecVersion::V0_2_0 => caseless::read::<Legacy>(&value).map(CniResult::from),
            _ => caseless::read(&value),
        };
        read.map_err(|e| Error::new(ErrorCode::DECODE, format!("not a CNI {version} result: {e}")))
    }
}

fn remove_from_each(list: &mut Value, keys: &[&str]) {
    for item in list.as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
        item.retain(|key, _| !keys.contains(&key.as_str()));
    }
}

/// The result of 0.1.0 and 0.2.0: one address per family, routes beneath the address, no interfaces.
#[derive(Serialize, Deserialize)]
struct Legacy {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ip4: Option<LegacyIp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ip6: Option<LegacyIp>,
    #[serde(default)]
    dns: Dns,
}

#[derive(Serialize, Deserialize)]
struct LegacyIp {
    ip: Cidr,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "super::empty_as_none")]
    gateway: Option<IpAddr>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    routes: Vec<Route>,
}

impl From<&CniResult> for Legacy {
    fn from(result: &CniResult) -> Legacy {
        let family = |v4: bool| {
            let ip = result.ips.iter().find(|ip| ip.address.ip().is_ipv4() == v4)?;
            let routes = result.routes.iter().filter(|route| route.dst.ip().is_ipv4() == v4);
            let routes = routes.map(|route| Route::new(route.dst, route.gw)).collect();
            Some(LegacyIp { ip: ip.address, gateway: ip.gateway, routes })
        };
        Legacy { ip4: family(true), ip6: family(false), dns: result.dns.clone() }
    }
}

impl From<Legacy> for CniResult {
    fn from(legacy: Legacy) -> CniResult {
        let mut result = CniResult { dns: legacy.dns, ..CniResult::default() };
        for family in [legacy.ip4, legacy.ip6].into_iter().flatten() {
            result.ips.push(IpConfig { interface: None, address: family.ip, gateway: family.gateway });
            result.routes.extend(family.routes);
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn full() -> Value {
        json!({
            "cniVersion": "1.1.0",
            "interfaces": [{"name": "eth0", "mac": "02:00:00:00:00:01", "mtu": 1400, "sandbox": "/run/netns/p",
                            "socketPath": "/s", "pciID": "0000:00:00.0"}],
            "ips": [{"interface": 0, "address": "10.1.2.3/24", "gateway": "10.1.2.1"},
                    {"interface": 0, "address": "fd00::3/64"},
                    {"interface": 0, "address": "10.9.9.9/24"}],
            "routes": [{"dst": "0.0.0.0/0", "gw": "10.1.2.1", "mtu": 1400, "advmss": 1360, "priority": 5,
                        "table": 100, "scope": 0}, {"dst": "::/0"}],
            "dns": {"nameservers": ["10.0.0.10"], "search": ["cluster.local"]}
        })
    }

    fn in_version(version: SpecVersion) -> Value {
        CniResult::from_value(&full(), SpecVersion::LATEST).unwrap().to_value(version)
    }

    #[test]
    fn the_latest_shape_is_unchanged() {
        assert_eq!(in_version(SpecVersion::V1_1_0), full());
    }

    #[test]
    fn what_1_1_0_added_is_left_out_before() {
        assert_eq!(
            in_version(SpecVersion::V1_0_0),
            json!({
                "cniVersion": "1.0.0",
                "interfaces": [{"name": "eth0", "mac": "02:00:00:00:00:01", "sandbox": "/run/netns/p"}],
                "ips": full()["ips"],
                "routes": [{"dst": "0.0.0.0/0", "gw": "10.1.2.1"}, {"dst": "::/0"}],
                "dns": full()["dns"]
            })
        );
    }

    #[test]
    fn each_ip_has_its_family_from_0_3_0_to_0_4_0() {
        for version in [SpecVersion::V0_3_0, SpecVersion::V0_3_1, SpecVersion::V0_4_0] {
            let value = in_version(version);
            let families: Vec<_> = value["ips"].as_array().unwrap().iter().map(|ip| ip["version"].clone()).collect();
            assert_eq!(families, ["4", "6", "4"], "{version}");
            assert_eq!(
                CniResult::from_value(&value, SpecVersion::LATEST).unwrap().ips,
                CniResult::from_value(&full(), SpecVersion::LATEST).unwrap().ips
            );
        }
    }

    #[test]
    fn the_oldest_shape_has_one_address_per_family() {
        for version in [SpecVersion::V0_1_0, SpecVersion::V0_2_0] {
            let value = in_version(version);
            assert_eq!(
                value,
                json!({
                    "cniVersion": version.as_str(),
                    "ip4": {"ip": "10.1.2.3/24", "gateway": "10.1.2.1", "routes": [{"dst": "0.0.0.0/0", "gw": "10.1.2.1"}]},
                    "ip6": {"ip": "fd00::3/64", "routes": [{"dst": "::/0"}]},
                    "dns": full()["dns"]
                })
            );
            let back = CniResult::from_value(&value, SpecVersion::LATEST).unwrap();
            assert_eq!((back.ips.len(), back.routes.len()), (2, 2));
        }
    }

    #[test]
    fn a_result_without_a_version_has_the_configs() {
        let value = json!({"ip4": {"ip": "10.1.2.3/24"}});
        assert_eq!(CniResult::from_value(&value, SpecVersion::V0_2_0).unwrap().ips.len(), 1);
    }

    #[test]
    fn unknown_keys_and_nulls_are_no_error_and_wrong_types_are() {
        let lenient = json!({"cniVersion": "1.0.0", "vendor": 1, "interfaces": null, "dns": null,
                             "ips": [{"address": "10.1.2.3/24", "gateway": "", "x": [1]}]});
        assert_eq!(CniResult::from_value(&lenient, SpecVersion::LATEST).unwrap().ips[0].gateway, None);
        for (bad, at) in [
            (json!({"ips": {}}), "ips"),
            (json!({"ips": [{"address": "10.1.2.3"}]}), "ips[0].address"),
            (json!({"routes": [{"dst": 5}]}), "routes[0].dst"),
            (json!([1]), "result"),
        ] {
            let error = CniResult::from_value(&bad, SpecVersion::LATEST).unwrap_err();
            assert_eq!(error.code, ErrorCode::DECODE);
            assert!(error.msg.contains(at), "{error}");
        }
    }
}
