use serde_json::{Value, json};

use super::*;

fn read_with(args: &str, keys: Value) -> Result<Config, Error> {
    let mut config = json!({"cniVersion": "1.0.0", "name": "net", "type": "bridge"});
    for (key, value) in keys.as_object().unwrap() {
        config[key] = value.clone();
    }
    Config::read(&NetworkCall::from_parts(config.to_string().into_bytes(), args)?)
}

fn read(keys: Value) -> Result<Config, Error> {
    read_with("", keys)
}

#[track_caller]
fn refused(keys: Value, words: &[&str]) {
    let error = read(keys.clone()).expect_err(&keys.to_string());
    assert!(error.code == ErrorCode::INVALID_CONFIG, "{error}");
    for word in words {
        assert!(error.to_string().contains(word), "{keys}: {word:?} is not in {error}");
    }
}

#[test]
fn defaults_are_the_references() {
    let config = read(json!({})).unwrap();
    assert_eq!((config.bridge.as_str(), config.mtu, &config.ipam, &config.vlans), ("cni0", None, &None, &None));
    assert!(!config.is_gateway && !config.hairpin && config.mac.is_none());
}

#[test]
fn a_default_gateway_is_a_gateway() {
    let config = read(json!({"isDefaultGateway": true})).unwrap();
    assert!(config.is_gateway && config.is_default_gateway);
}

#[test]
fn the_mac_given_last_wins() {
    let both = json!({"runtimeConfig": {"mac": "02:00:00:00:00:03"}, "args": {"cni": {"mac": "02:00:00:00:00:02"}}});
    let mac = |config: Config| config.mac.unwrap().to_string();
    assert_eq!(mac(read_with("MAC=02:00:00:00:00:01", both.clone()).unwrap()), "02:00:00:00:00:03");
    assert_eq!(mac(read_with("MAC=02:00:00:00:00:01", json!({"args": both["args"]})).unwrap()), "02:00:00:00:00:02");
    assert_eq!(mac(read_with("IgnoreUnknown=1;X=1;MAC=02:00:00:00:00:01", json!({})).unwrap()), "02:00:00:00:00:01");
    assert!(read_with("X=1", json!({})).is_err());
}

#[test]
fn values_out_of_range_are_refused_and_their_key_is_named() {
    refused(json!({"mtu": 67}), &["mtu", "67", "68"]);
    refused(json!({"mtu": 65536}), &["mtu", "65535"]);
    refused(json!({"mtu": -1}), &["mtu", "-1"]);
    refused(json!({"mtu": "1500"}), &["mtu", "1500"]);
    refused(json!({"vlan": 4095}), &["vlan", "4095", "4094"]);
    refused(json!({"bridge": "a/b"}), &["bridge", "a/b"]);
    refused(json!({"bridge": "0123456789abcdef"}), &["bridge", "15 bytes"]);
    refused(json!({"runtimeConfig": {"mac": "01:00:5e:00:00:01"}}), &["runtimeConfig.mac", "multicast"]);
    refused(json!({"runtimeConfig": {"mac": "00:00:00:00:00:00"}}), &["runtimeConfig.mac", "zero"]);
    refused(json!({"args": {"cni": {"mac": "nonsense"}}}), &["args.cni.mac", "nonsense"]);
    refused(json!({"isGateway": "yes"}), &["isGateway"]);
    refused(json!({"ipam": {"type": 5}}), &["ipam.type"]);
}

#[test]
fn keys_that_contradict_each_other_are_refused() {
    refused(json!({"hairpinMode": true, "promiscMode": true}), &["hairpin", "promisc"]);
    refused(
        json!({"disableContainerInterface": true, "ipam": {"type": "host-local"}}),
        &["IPAM", "DisableContainerInterface"],
    );
    refused(json!({"vlan": 5, "vlanTrunk": [{"id": 6}]}), &["vlan and vlanTrunk"]);
    refused(json!({"bridge": "bridge-with-14c", "vlan": 100, "isGateway": true}), &["bridge-with-14c.100", "15 bytes"]);
    assert!(read(json!({"bridge": "bridge-with-14c", "vlan": 100})).is_ok());
}

#[test]
fn rules() {
    let config = read(json!({"ipMasq": true, "ipMasqBackend": "iptables", "macspoofchk": true})).unwrap();
    assert!(config.masquerade && config.mac_spoof_check);
    assert_eq!(config.masquerade_backend, Some(masquerade::Backend::Iptables));
    assert_eq!(read(json!({"ipMasq": true})).unwrap().masquerade_backend, None);
    refused(json!({"ipMasqBackend": "ipfw"}), &["ipMasqBackend", "ipfw", "nftables", "iptables"]);
}

#[test]
fn vlans_of_the_port() {
    let port = |keys: Value| {
        let vlans = read(keys).unwrap().vlans?;
        Some(vlans.of_port().iter().map(|vlan| (vlan.vid, vlan.pvid, vlan.untagged)).collect::<Vec<_>>())
    };
    assert_eq!(port(json!({"vlan": 0})), None);
    assert_eq!(port(json!({"vlanTrunk": []})), None);
    assert_eq!(port(json!({"vlan": 100})), Some(vec![(100, true, true)]));
    let trunk = json!({"vlanTrunk": [{"minID": 10, "maxID": 12}, {"id": 11}, {"id": 5}]});
    let tagged = [5, 10, 11, 12].map(|vid| (vid, false, false)).to_vec();
    assert_eq!(port(trunk), Some(tagged));
    assert!(read(json!({"vlan": 1})).unwrap().vlans.unwrap().preserve_default);
    assert!(!read(json!({"vlan": 1, "preserveDefaultVlan": false})).unwrap().vlans.unwrap().preserve_default);
}

#[test]
fn trunks_that_make_no_sense_are_refused() {
    for (item, word) in [
        (json!({"minID": 5}), "maxID is missing"),
        (json!({"maxID": 5}), "minID is missing"),
        (json!({"minID": 6, "maxID": 5}), "greater"),
        (json!({"minID": 0, "maxID": 5}), "minID"),
        (json!({"minID": 1, "maxID": 4095}), "maxID"),
        (json!({"id": 0}), "trunk id"),
        (json!({"id": 4095}), "trunk id"),
        (json!({"id": -1}), "vlanTrunk[0].id"),
    ] {
        refused(json!({"vlanTrunk": [item]}), &[word]);
    }
}

#[test]
fn del_reads_no_more_than_it_needs() {
    let config = json!({"cniVersion": "1.0.0", "name": "net", "vlan": 9999, "mtu": 1, "ipam": {"type": "host-local"}});
    let call = NetworkCall::from_parts(config.to_string().into_bytes(), "").unwrap();
    assert_eq!(call.config.ipam_type().unwrap().as_deref(), Some("host-local"));
}
