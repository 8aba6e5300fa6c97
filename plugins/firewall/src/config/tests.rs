use serde_json::{Value, json};

use super::*;

fn read(keys: Value) -> Result<Config, Error> {
    let mut config = json!({"cniVersion": "1.0.0", "name": "net", "type": "firewall"});
    for (key, value) in keys.as_object().unwrap() {
        config[key] = value.clone();
    }
    Config::read(&NetworkCall::from_parts(config.to_string().into_bytes(), "")?)
}

#[test]
fn nothing_said_is_the_default() {
    for keys in [json!({}), json!({"backend": null, "ingressPolicy": ""}), json!({"ingressPolicy": "open"})] {
        assert_eq!(read(keys).unwrap(), Config::default());
    }
    let default = Config::default();
    assert_eq!((default.admin_chain.as_str(), default.zone.as_str()), ("CNI-ADMIN", "trusted"));
}

#[test]
fn every_key_is_read() {
    let keys = json!({
        "backend": "iptables",
        "iptablesAdminChainName": "MY-ADMIN",
        "firewalldZone": "work",
        "ingressPolicy": "isolated",
    });
    let expected = Config {
        backend: Some(Backend::Iptables),
        admin_chain: "MY-ADMIN".to_owned(),
        zone: "work".to_owned(),
        policy: Policy::Isolated,
    };
    assert_eq!(read(keys).unwrap(), expected);
}

#[test]
fn a_mistake_names_the_key() {
    for (keys, key) in [
        (json!({"backend": "ipfw"}), "backend"),
        (json!({"backend": 1}), "backend"),
        (json!({"ingressPolicy": "closed"}), "ingressPolicy"),
        (json!({"iptablesAdminChainName": "A\n-F FORWARD"}), "iptablesAdminChainName"),
        (json!({"iptablesAdminChainName": "-F"}), "iptablesAdminChainName"),
        (json!({"iptablesAdminChainName": "A".repeat(29)}), "iptablesAdminChainName"),
        (json!({"iptablesAdminChainName": "CNI-FORWARD"}), "iptablesAdminChainName"),
        (json!({"firewalldZone": []}), "firewalldZone"),
    ] {
        let error = read(keys.clone()).expect_err(&keys.to_string());
        assert!(error.code == ErrorCode::INVALID_CONFIG && error.msg.contains(key), "{keys}: {error}");
    }
}
