use serde_json::{Value, json};

use super::*;

fn read(keys: Value) -> Result<Config, Error> {
    let mut config = json!({"cniVersion": "1.0.0", "name": "net", "type": "bandwidth"});
    for (key, value) in keys.as_object().unwrap() {
        config[key] = value.clone();
    }
    Config::read(&NetworkCall::from_parts(config.to_string().into_bytes(), "")?)
}

#[track_caller]
fn refused(keys: Value, words: &[&str]) {
    let error = read(keys.clone()).expect_err(&keys.to_string());
    assert_eq!(error.code, ErrorCode::INVALID_CONFIG, "{error}");
    for word in words {
        assert!(error.to_string().contains(word), "{keys}: {word:?} is not in {error}");
    }
}

#[test]
fn nothing_asked_is_no_limit() {
    for keys in [
        json!({}),
        json!({"ingressRate": 0, "ingressBurst": 0, "egressRate": null}),
        json!({"runtimeConfig": {"bandwidth": {"ingressRate": 0}}}),
        json!({"unshapedSubnets": ["10.0.0.0/8"]}),
    ] {
        assert!(read(keys).unwrap().is_unlimited());
    }
}

#[test]
fn bits_become_bytes_and_the_latency_is_the_references() {
    let config = read(json!({"ingressRate": 8_000_000, "ingressBurst": 80_000, "egressRate": 4000})).unwrap();
    assert_eq!(config.ingress, Some(Limit { rate: 1_000_000, burst: Some(10_000) }));
    assert_eq!(config.egress, Some(Limit { rate: 500, burst: None }));
    assert_eq!((config.subnets, config.latency), (Subnets::All, Duration::from_millis(25)));
    assert_eq!(read(json!({"latency": 100})).unwrap().latency, Duration::from_millis(100));
}

#[test]
fn the_greatest_number_a_runtime_has_is_no_burst() {
    for bits in [i64::from(i32::MAX), i64::from(u32::MAX)] {
        let config = read(json!({"ingressRate": 8_000_000, "ingressBurst": bits})).unwrap();
        assert_eq!(config.ingress, Some(Limit { rate: 1_000_000, burst: None }));
    }
}

#[test]
fn the_runtime_may_limit_what_the_config_leaves_open() {
    let runtime = json!({"bandwidth": {"ingressRate": 800, "ingressBurst": 8000}});
    let config = read(json!({"unshapedSubnets": ["10.0.0.0/8"], "runtimeConfig": runtime})).unwrap();
    assert_eq!((config.ingress, config.egress), (Some(Limit { rate: 100, burst: Some(1000) }), None));
    assert_eq!(config.subnets, Subnets::AllBut(vec!["10.0.0.0/8".parse().unwrap()]));
    let config = json!({
        "egressRate": 32_000, "egressBurst": 160_000, "unshapedSubnets": ["10.0.0.0/8"], "runtimeConfig": runtime,
    });
    let config = read(config).unwrap();
    assert_eq!((config.ingress, config.egress), (None, Some(Limit { rate: 4000, burst: Some(20_000) })));
    assert_eq!(config.subnets, Subnets::AllBut(vec!["10.0.0.0/8".parse().unwrap()]));
}

#[test]
fn bad_values_are_refused_and_their_key_is_named() {
    refused(json!({"ingressBurst": 8000}), &["ingressBurst", "8000", "ingressRate"]);
    refused(json!({"egressRate": 0, "egressBurst": 8000}), &["egressBurst", "egressRate"]);
    refused(json!({"ingressRate": -1}), &["ingressRate", "-1"]);
    refused(json!({"ingressRate": 7}), &["ingressRate", "7"]);
    refused(json!({"ingressRate": 8, "ingressBurst": 7}), &["ingressBurst", "7"]);
    refused(json!({"egressRate": 1.5}), &["egressRate"]);
    refused(json!({"egressRate": "10M"}), &["egressRate", "10M"]);
    refused(json!({"egressRate": 8, "egressBurst": -5}), &["egressBurst", "-5"]);
    refused(json!({"egressRate": 8, "egressBurst": 1_u64 << 35}), &["egressBurst", "4 GiB"]);
    refused(json!({"latency": 0}), &["latency"]);
    refused(json!({"latency": -3}), &["latency", "-3"]);
    let overflow = json!({"runtimeConfig": {"bandwidth": {"ingressBurst": 8000}}});
    refused(overflow, &["runtimeConfig.bandwidth.ingressBurst"]);
    let text = r#"{"cniVersion": "1.0.0", "name": "net", "ingressRate": 18446744073709551616}"#;
    let error = Config::read(&NetworkCall::from_parts(text.into(), "").unwrap()).unwrap_err();
    assert!(error.msg.contains("ingressRate"), "{error}");
}

#[test]
fn subnets_are_strict_and_of_one_kind() {
    let only = read(json!({"shapedSubnets": ["10.1.2.3/8", "fd00::/8"]})).unwrap().subnets;
    assert_eq!(only, Subnets::Only(vec!["10.1.2.3/8".parse().unwrap(), "fd00::/8".parse().unwrap()]));
    let both = json!({"shapedSubnets": ["10.0.0.0/8"], "unshapedSubnets": ["10.0.0.0/8"]});
    refused(both, &["shapedSubnets", "unshapedSubnets"]);
    refused(json!({"unshapedSubnets": ["10.0.0.0/8", "10.0.0.1"]}), &["unshapedSubnets[1]", "10.0.0.1"]);
    refused(json!({"shapedSubnets": "10.0.0.0/8"}), &["shapedSubnets"]);
}
