use serde_json::{Value, json};

use super::*;

fn read(keys: Value) -> Result<Config, Error> {
    let mut config = json!({ "cniVersion": "1.1.0", "name": "net", "type": "portmap" });
    for (key, value) in keys.as_object().unwrap() {
        config[key] = value.clone();
    }
    Config::read(&NetworkCall::from_parts(config.to_string().into_bytes(), "").unwrap())
}

fn ports(ports: Value) -> Result<Config, Error> {
    read(json!({ "runtimeConfig": { "portMappings": ports } }))
}

#[test]
fn defaults_are_the_references() {
    let config = read(json!({})).unwrap();
    assert_eq!((config.snat, config.masq_all, config.set_mark), (true, false, SetMark::Bit(13)));
    assert_eq!((config.backend, config.ports.len()), (None, 0));
}

#[test]
fn the_backend_follows_from_what_only_one_can_do() {
    for (keys, backend) in [
        (json!({ "backend": "nftables" }), Some(Backend::Native)),
        (json!({ "backend": "iptables" }), Some(Backend::Iptables)),
        (json!({ "conditionsV4": ["!", "-d", "192.0.2.0/24"] }), Some(Backend::Iptables)),
        (json!({ "conditionsV6": ["-s", "fc00::/7"] }), Some(Backend::Iptables)),
        (json!({ "conditionsV6": ["ip6", "saddr", "!=", "fc00::/7"] }), Some(Backend::Native)),
        (json!({ "externalSetMarkChain": "KUBE-MARK-MASQ" }), Some(Backend::Iptables)),
        (json!({ "markMasqBit": 9 }), None),
        (json!({ "conditionsV4": [] }), None),
    ] {
        assert_eq!(read(keys.clone()).unwrap().backend, backend, "{keys}");
    }
}

#[test]
fn mistakes_name_their_key() {
    for (keys, code, word) in [
        (json!({ "backend": "ipvs" }), 7, "backend"),
        (json!({ "markMasqBit": 32 }), 7, "markMasqBit"),
        (json!({ "markMasqBit": -1 }), 7, "markMasqBit"),
        (json!({ "markMasqBit": 1, "externalSetMarkChain": "X" }), 7, "externalSetMarkChain"),
        (json!({ "externalSetMarkChain": "A B" }), 7, "externalSetMarkChain"),
        (json!({ "externalSetMarkChain": "X\n-F" }), 7, "externalSetMarkChain"),
        (json!({ "externalSetMarkChain": "" }), 7, "externalSetMarkChain"),
        (json!({ "backend": "nftables", "externalSetMarkChain": "X" }), 7, "externalSetMarkChain"),
        (json!({ "backend": "nftables", "conditionsV4": ["-d", "1.2.3.4"] }), 7, "conditionsV4"),
        (json!({ "conditionsV6": ["ct", "state", "new"] }), 2, "conditionsV6"),
        (json!({ "conditionsV4": ["ip6", "daddr", "::1"] }), 2, "conditionsV4"),
        (json!({ "backend": "iptables", "conditionsV4": ["ip", "saddr", "1.2.3.4"] }), 7, "conditionsV4"),
        (json!({ "conditionsV4": ["-s", "1.2.3.4"], "conditionsV6": ["ip6", "saddr", "::1"] }), 7, "conditionsV6"),
        (json!({ "externalSetMarkChain": "X", "conditionsV6": ["ip6", "saddr", "::1"] }), 7, "externalSetMarkChain"),
        (json!({ "conditionsV4": ["-d", "1.2.3.4\nCOMMIT"] }), 7, "conditionsV4"),
        (json!({ "snat": "yes" }), 7, "snat"),
        (json!({ "runtimeConfig": { "portMappings": 5 } }), 7, "runtimeConfig.portMappings"),
    ] {
        let error = read(keys.clone()).unwrap_err();
        assert!(error.code.0 == code && error.msg.contains(word), "{keys}: {error}");
    }
}

#[test]
fn a_ports_mistakes_name_their_key() {
    let good = json!({ "hostPort": 8080, "containerPort": 80, "protocol": "tcp" });
    for (key, value) in [
        ("hostPort", json!(0)),
        ("hostPort", json!(70000)),
        ("hostPort", json!(-1)),
        ("hostPort", json!("80")),
        ("hostPort", json!(1e30)),
        ("containerPort", json!(0)),
        ("containerPort", json!(65536)),
        ("protocol", json!("icmp")),
        ("protocol", json!("")),
        ("hostIP", json!("192.0.2")),
        ("hostIP", json!("fe80::1%eth0")),
        ("hostIP", json!("224.0.0.1")),
    ] {
        let mut bad = good.clone();
        bad[key] = value;
        let error = ports(json!([{ "hostPort": 1, "containerPort": 1, "protocol": "udp" }, bad])).unwrap_err();
        assert!(error.msg.contains(&format!("portMappings[1].{key}")), "{error}");
    }
}

#[test]
fn one_request_does_not_ask_twice_for_a_port() {
    let pair = |a: &str, b: &str, protocol: &str| {
        ports(json!([
            { "hostPort": 80, "containerPort": 80, "protocol": "TCP", "hostIP": a },
            { "hostPort": 80, "containerPort": 81, "protocol": protocol, "hostIP": b },
        ]))
    };
    for (a, b) in [
        ("", ""),
        ("", "192.0.2.1"),
        ("0.0.0.0", "192.0.2.1"),
        ("::", ""),
        ("::1", "::1"),
        ("::ffff:1.2.3.4", "1.2.3.4"),
    ] {
        let error = pair(a, b, "tcp").unwrap_err();
        assert!(error.msg.contains("portMappings[1]") && error.msg.contains("80/tcp"), "{error}");
    }
    for (a, b) in [("0.0.0.0", "::"), ("192.0.2.1", "192.0.2.2"), ("0.0.0.0", "2001:db8::1")] {
        assert_eq!(pair(a, b, "tcp").unwrap().ports.len(), 2, "{a} {b}");
    }
    assert_eq!(pair("", "", "udp").unwrap().ports.len(), 2);
}
