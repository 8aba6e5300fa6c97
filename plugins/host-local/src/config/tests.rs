use serde_json::{Value, json};

use super::*;

fn read_with(args: &str, version: &str, ipam: Value, rest: Value) -> Result<Config, Error> {
    let mut config = json!({ "cniVersion": version, "name": "net", "ipam": ipam });
    config.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
    let conf = NetConf::parse(config.to_string().into_bytes()).unwrap();
    Config::read(&conf, &CniArgs::parse(args).unwrap())
}

fn read(ipam: Value) -> Result<Config, Error> {
    read_with("", "1.0.0", ipam, json!({}))
}

fn printed(config: &Config) -> Vec<String> {
    config.sets.iter().map(ToString::to_string).collect()
}

#[test]
fn range_sets_come_from_the_runtime_then_the_old_keys_then_ranges() {
    let ipam = json!({
        "subnet": "10.2.0.0/24", "rangeStart": "10.2.0.8", "gateway": "",
        "ranges": [[{ "subnet": "10.3.0.0/24", "rangeEnd": "10.3.0.9" }, { "subnet": "10.4.0.0/24" }]],
    });
    let rest = json!({ "runtimeConfig": { "ipRanges": [[{ "subnet": "10.1.0.0/24" }]] } });
    let config = read_with("", "1.0.0", ipam, rest).unwrap();
    let expected = ["10.1.0.1-10.1.0.254", "10.2.0.8-10.2.0.254", "10.3.0.1-10.3.0.9,10.4.0.1-10.4.0.254"];
    assert_eq!(printed(&config), expected);
    assert_eq!(config.store.dir(), Path::new("/var/lib/cni/networks/net"));
}

#[test]
fn requested_addresses_come_from_everywhere() {
    let ipam = json!({ "subnet": "10.1.0.0/24", "dataDir": "/elsewhere" });
    let rest = json!({
        "args": { "cni": { "ips": ["10.1.0.5", "10.1.0.6/8"] } },
        "runtimeConfig": { "ips": ["2001:db8::7/64"] },
    });
    let config = read_with("IP=10.1.0.4/24;MAC=02:00:00:00:00:01", "1.0.0", ipam, rest).unwrap();
    let requested: Vec<_> = config.requested.iter().map(ToString::to_string).collect();
    assert_eq!(requested, ["10.1.0.4", "10.1.0.5", "10.1.0.6", "2001:db8::7"]);
    assert_eq!(config.store.dir(), Path::new("/elsewhere/net"));
}

#[test]
fn an_ip_argument_names_itself() {
    for (args, named) in [
        ("IP=10.1.0.4,10.1.0.5", "CNI_ARGS: IP=10.1.0.4,10.1.0.5"),
        ("IP=10.1.0.4/33", "10.1.0.4/33"),
        ("IP=::ffff:10.1.0.4", "write it as IPv4"),
    ] {
        let error = read_with(args, "1.0.0", json!({ "subnet": "10.1.0.0/24" }), json!({})).unwrap_err();
        assert!(error.code == ErrorCode::INVALID_CONFIG && error.msg.contains(named), "{args}: {error}");
    }
    assert!(read_with("IP=", "1.0.0", json!({ "subnet": "10.1.0.0/24" }), json!({})).unwrap().requested.is_empty());
}

#[test]
fn mistakes_are_code_7_and_name_their_key() {
    for (ipam, named) in [
        (json!({}), "no IP ranges specified"),
        (json!({ "gateway": "10.1.0.1" }), "no IP ranges specified"),
        (json!({ "ranges": [] }), "no IP ranges specified"),
        (json!({ "ranges": [[]] }), "ipam.ranges[0]: the range set is empty"),
        (json!({ "ranges": [{ "subnet": "10.1.0.0/24" }] }), "ipam.ranges[0]: invalid type: map, expected a sequence"),
        (json!({ "ranges": [[{ "gateway": "10.1.0.1" }]] }), "ipam.ranges[0][0]: missing field `subnet`"),
        (json!({ "subnet": "10.1.0.0" }), "ipam.subnet: \"10.1.0.0\" is not an address with a prefix length"),
        (json!({ "subnet": "10.1.0.0/24", "rangeStart": "x" }), "ipam.rangeStart: \"x\" is not an IP address"),
        (json!({ "subnet": "10.1.0.0/24", "rangeEnd": 5 }), "ipam.rangeEnd: invalid type: integer `5`"),
        (json!({ "subnet": "10.1.0.9/24" }), "ipam: subnet 10.1.0.9/24 has host bits set"),
        (json!({ "subnet": "10.1.0.0/31" }), "too small"),
        (json!({ "subnet": "::ffff:10.1.0.0/120" }), "write it as IPv4"),
        (
            json!({ "ranges": [[{ "subnet": "10.1.0.0/24" }], [{ "subnet": "10.2.0.0/24", "gateway": "fe80::1" }]] }),
            "ipam.ranges[1][0]: gateway fe80::1 is not of the address family of subnet 10.2.0.0/24",
        ),
        (
            json!({ "ranges": [[{ "subnet": "10.1.0.0/24" }, { "subnet": "2001:db8::/64" }]] }),
            "different address families",
        ),
        (
            json!({ "ranges": [[{ "subnet": "10.1.0.0/24" }, { "subnet": "10.1.0.0/25" }]] }),
            "ipam.ranges[0]: the ranges 10.1.0.1-10.1.0.254 and 10.1.0.1-10.1.0.126 overlap",
        ),
        (
            json!({ "subnet": "10.1.0.0/24", "ranges": [[{ "subnet": "10.1.0.0/16" }]] }),
            "ipam (10.1.0.1-10.1.0.254) overlaps with ipam.ranges[0] (10.1.0.1-10.1.255.254)",
        ),
        (json!({ "subnet": "10.1.0.0/24", "routes": [{ "dst": "0.0.0.0" }] }), "ipam.routes[0].dst"),
        (json!({ "subnet": "10.1.0.0/24", "routes": [{ "dst": "0.0.0.0/0", "gw": "x" }] }), "ipam.routes[0].gw"),
        (json!({ "subnet": "10.1.0.0/24", "routes": {} }), "ipam.routes"),
        (json!({ "subnet": "10.1.0.0/24", "dataDir": 7 }), "ipam.dataDir"),
        (json!({ "subnet": "10.1.0.0/24", "resolvConf": [] }), "ipam.resolvConf"),
        (json!("host-local"), "ipam"),
    ] {
        let error = read(ipam.clone()).unwrap_err();
        assert!(error.code == ErrorCode::INVALID_CONFIG && error.msg.contains(named), "{ipam}: {error}");
        assert!(error.msg.contains("\"net\""), "{error}");
    }
    let rest = json!({ "runtimeConfig": { "ips": [""] } });
    let error = read_with("", "1.0.0", json!({ "subnet": "10.1.0.0/24" }), rest).unwrap_err();
    assert!(error.msg.contains("runtimeConfig.ips[0]"), "{error}");
}

#[test]
fn old_versions_have_one_address_per_family() {
    let two = json!({ "ranges": [[{ "subnet": "10.1.0.0/24" }], [{ "subnet": "10.2.0.0/24" }]] });
    let dual = json!({ "ranges": [[{ "subnet": "10.1.0.0/24" }], [{ "subnet": "2001:db8::/64" }]] });
    for version in ["", "0.1.0", "0.2.0"] {
        let error = read_with("", version, two.clone(), json!({})).unwrap_err().msg;
        assert!(error.contains("does not support more than 1 address per family"), "{error}");
        assert!(error.contains("ipam.ranges[0], ipam.ranges[1]"), "{error}");
        read_with("", version, dual.clone(), json!({})).unwrap();
    }
    read_with("", "0.3.0", two, json!({})).unwrap();
}

#[test]
fn null_is_not_given() {
    let ipam = json!({ "subnet": "10.1.0.0/24", "rangeStart": null, "ranges": null, "routes": null, "resolvConf": "" });
    let config = read_with("", "1.0.0", ipam, json!({ "args": null, "runtimeConfig": { "ips": null } })).unwrap();
    assert_eq!(printed(&config), ["10.1.0.1-10.1.0.254"]);
    assert!(config.dns().unwrap().is_empty());
}

/// DEL and GC need only the place of the files.
#[test]
fn the_store_is_found_with_everything_else_wrong() {
    let config = json!({ "name": "net", "ipam": { "dataDir": "/d", "subnet": 5, "ranges": "x" }, "runtimeConfig": 7 });
    let conf = NetConf::parse(config.to_string().into_bytes()).unwrap();
    assert_eq!(store(&conf).unwrap().dir(), Path::new("/d/net"));
    let conf = NetConf::parse(json!({ "name": "net" }).to_string().into_bytes()).unwrap();
    assert!(store(&conf).unwrap_err().msg.contains("missing field `ipam`"));
}
