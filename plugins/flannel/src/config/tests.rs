use super::*;

fn call(keys: Value) -> NetworkCall {
    let mut config = json!({ "cniVersion": "1.0.0", "name": "net", "type": "flannel" });
    keys.as_object().unwrap().iter().for_each(|(key, value)| config[key] = value.clone());
    NetworkCall::from_parts(config.to_string().into_bytes(), "").unwrap()
}

fn subnet(masquerades: bool) -> Subnet {
    let cidrs = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
    let (networks, subnets) = (cidrs(&["10.244.0.0/16", "fd00:244::/56"]), cidrs(&["10.244.1.0/24"]));
    Subnet { networks, subnets, mtu: 1450, masquerades }
}

#[track_caller]
fn delegated(keys: Value, subnet: Option<&Subnet>) -> Value {
    let call = call(keys);
    Value::Object(Config::read(&call).unwrap().delegated(&call, subnet))
}

#[test]
fn the_defaults_are_the_references() {
    let ipam = json!({
        "type": "host-local",
        "ranges": [[{ "subnet": "10.244.1.0/24" }]],
        "routes": [{ "dst": "10.244.0.0/16" }, { "dst": "fd00:244::/56" }],
    });
    let expected = json!({
        "name": "net", "cniVersion": "1.0.0", "type": "bridge", "ipMasq": true, "mtu": 1450, "isGateway": true, "ipam": ipam,
    });
    assert_eq!(delegated(json!({}), Some(&subnet(false))), expected);
    assert_eq!(delegated(json!({}), Some(&subnet(true)))["ipMasq"], json!(false));
    // What a config says stays; isGateway is bridge's alone.
    let own = json!({ "delegate": { "type": "ptp", "mtu": 1400, "ipMasq": true, "vendor": 1 } });
    let config = delegated(own, Some(&subnet(true)));
    let expected = json!({
        "type": "ptp", "mtu": 1400, "ipMasq": true, "vendor": 1, "name": "net", "cniVersion": "1.0.0", "ipam": config["ipam"],
    });
    assert_eq!(config, expected);
}

#[test]
fn ipam_and_runtime_config_are_passed_on() {
    let keys = json!({
        "ipam": { "dataDir": "/d", "ranges": [[{ "subnet": "192.0.2.0/24" }]], "routes": [{ "dst": "0.0.0.0/0" }] },
        "runtimeConfig": { "mac": "02:00:00:00:00:01" },
    });
    let config = delegated(keys.clone(), Some(&subnet(true)));
    assert_eq!(config["ipam"]["dataDir"], "/d");
    assert_eq!(config["ipam"]["ranges"], json!([[{ "subnet": "10.244.1.0/24" }]]));
    assert_eq!(config["ipam"]["routes"][0], json!({ "dst": "0.0.0.0/0" }));
    assert_eq!(config["runtimeConfig"], keys["runtimeConfig"]);
    let removal = delegated(keys, None);
    assert_eq!((&removal["name"], &removal["type"]), (&json!("net"), &json!("bridge")));
    assert_eq!(removal["ipam"]["dataDir"], "/d");
}

#[test]
fn what_concerns_one_call_goes_to_it() {
    let call =
        call(json!({ "prevResult": { "ips": [] }, "cni.dev/valid-attachments": [], "runtimeConfig": { "new": 1 } }));
    let kept = json!({ "name": "net", "cniVersion": "0.3.1", "runtimeConfig": { "old": 1 } });
    let config = for_this_call(kept.as_object().unwrap().clone(), &call).unwrap();
    let expected = json!({
        "name": "net", "cniVersion": "1.0.0", "runtimeConfig": { "new": 1 }, "prevResult": { "ips": [] },
        "cni.dev/valid-attachments": [],
    });
    assert_eq!(Value::Object(config), expected);
}

#[test]
fn mistakes_name_the_key() {
    for (keys, words) in [
        (json!({ "delegate": { "name": "x" } }), "must not have 'name'"),
        (json!({ "delegate": { "ipam": {} } }), "must not have 'ipam'"),
        (json!({ "delegate": { "type": 5 } }), "(string) 'type'"),
        (json!({ "delegate": { "type": "flannel" } }), "itself"),
        (json!({ "delegate": [] }), "delegate"),
        (json!({ "ipam": { "routes": [{ "dst": "x" }] } }), "ipam.routes"),
        (json!({ "subnetFile": 5 }), "subnetFile"),
    ] {
        let error = Config::read(&call(keys.clone())).unwrap_err();
        assert!(error.code == ErrorCode::INVALID_CONFIG && error.msg.contains(words), "{keys}: {error}");
    }
}
