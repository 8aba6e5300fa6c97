use serde_json::{Value, json};

use super::*;

fn read_with(args: &str, keys: Value) -> Result<Config, Error> {
    let mut config = json!({"cniVersion": "1.0.0", "name": "net", "type": "tuning"});
    for (key, value) in keys.as_object().unwrap() {
        config[key] = value.clone();
    }
    Config::read(&NetworkCall::from_parts(config.to_string().into_bytes(), args)?, "eth0")
}

fn read(keys: Value) -> Result<Config, Error> {
    read_with("", keys)
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
fn nothing_asked_is_nothing_to_do() {
    let config = read(json!({"mtu": 0, "mac": "", "promisc": false, "sysctl": null})).unwrap();
    assert!(config.is_empty());
    assert_eq!(config.data_dir, PathBuf::from("/run/cni/tuning"));
    assert_eq!(read(json!({"dataDir": "/x"})).unwrap().data_dir, PathBuf::from("/x"));
    for keys in [json!({"allmulti": false}), json!({"txQLen": 0}), json!({"mtu": 1400}), json!({"promisc": true})] {
        assert!(read(keys).unwrap().is_for_interface());
    }
}

#[test]
fn sysctls_keep_their_order_and_arguments_come_over_them() {
    let config = json!({
        "sysctl": {"net.z": "1", "net.ipv4.conf.IFNAME.a": "2"},
        "args": {"cni": {"sysctl": {"net/ipv4/conf/eth0/a": "3", "net.b": "4"}}},
    });
    let settings = read(config).unwrap().sysctls;
    let pairs: Vec<_> = settings.iter().map(|setting| (setting.path.as_str(), setting.value.as_str())).collect();
    assert_eq!(pairs, [("z", "1"), ("ipv4/conf/eth0/a", "3"), ("b", "4")]);
}

#[test]
fn arguments_come_over_the_config() {
    let config = json!({
        "mtu": 1400, "promisc": true, "allmulti": true, "txQLen": 5,
        "args": {"cni": {"mtu": 1300, "promisc": false, "allmulti": false, "txQLen": 6}},
    });
    let config = read(config).unwrap();
    assert_eq!((config.mtu, config.promiscuous, config.all_multicast), (Some(1300), false, Some(false)));
    assert_eq!(config.tx_queue_len, Some(6));
}

#[test]
fn the_mac_given_last_wins() {
    let mac = |last: u8| format!("02:00:00:00:00:0{last}");
    let keys =
        [json!({"mac": mac(1)}), json!({"runtimeConfig": {"mac": mac(3)}}), json!({"args": {"cni": {"mac": mac(4)}}})];
    let mut all = json!({});
    let found = |args: &str, keys: &Value| read_with(args, keys.clone()).unwrap().mac.unwrap().to_string();
    for (keys, args, expected) in [
        (&keys[0], "", 1),
        (&keys[0], "MAC=02:00:00:00:00:02", 2),
        (&keys[1], "MAC=02:00:00:00:00:02", 3),
        (&keys[2], "", 4),
    ] {
        for (key, value) in keys.as_object().unwrap() {
            all[key] = value.clone();
        }
        assert_eq!(found(args, &all), mac(expected));
    }
    assert!(read_with("X=1", json!({})).is_err());
    assert!(read_with("X=1;IgnoreUnknown=1", json!({})).is_ok());
}

#[test]
fn bad_values_are_refused_and_their_key_is_named() {
    refused(json!({"sysctl": {"kernel.shmmax": "1"}}), &["sysctl", "kernel.shmmax", "net"]);
    refused(json!({"sysctl": {"net/../kernel/shmmax": "1"}}), &["net/../kernel/shmmax"]);
    refused(json!({"sysctl": {"/proc/sys/net/x": "1"}}), &["/proc/sys/net/x"]);
    refused(json!({"sysctl": {"net.core.somaxconn": 5}}), &["sysctl", "net.core.somaxconn", "5"]);
    refused(json!({"sysctl": {"net.core.a": "1", "net/core/a": "2"}}), &["net.core.a", "net/core/a"]);
    refused(json!({"args": {"cni": {"sysctl": {"vm.x": "1"}}}}), &["args.cni.sysctl", "vm.x"]);
    refused(json!({"mtu": -1}), &["mtu", "-1"]);
    refused(json!({"mtu": 4_294_967_296_u64}), &["mtu", "4294967296"]);
    refused(json!({"txQLen": -1}), &["txQLen", "-1"]);
    refused(json!({"promisc": 1}), &["promisc"]);
    refused(json!({"allmulti": "yes"}), &["allmulti"]);
    refused(json!({"mac": "nonsense"}), &["mac", "nonsense"]);
    refused(json!({"runtimeConfig": {"mac": "01:00:5e:00:00:01"}}), &["runtimeConfig.mac", "multicast"]);
    let twice = br#"{"cniVersion": "1.0.0", "name": "net", "sysctl": {"net.a": "1", "net.b": "2", "net.a": "3"}}"#;
    let error = Config::read(&NetworkCall::from_parts(twice.to_vec(), "").unwrap(), "eth0").unwrap_err();
    assert!(error.msg.contains("net.a") && error.msg.contains("twice"), "{error}");
}
