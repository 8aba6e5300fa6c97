//! The same calls to us and to the Go plugin: same answers, same files.
#![allow(clippy::unwrap_used, reason = "a failed test is a panic")]

mod common;

use std::path::Path;

use common::{OURS, REFERENCE, call, config, tree};
use serde_json::{Value, json};

/// The same sequence of calls for both, each in a directory of its own; what is compared after every call is the whole
/// answer where it is a result, that both failed where it is an error, and every file's name, mode and bytes.
fn compare_with(version: &str, args: &str, ipam: &Value, rest: &Value) {
    let (our_dir, their_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let both = |verb: &str, id: &str, args: &str, rest: &Value| {
        let one = |program: &str, dir: &Path| call(program, verb, id, args, &config(version, dir, ipam, rest));
        let (ours, theirs) = (one(OURS, our_dir.path()), one(REFERENCE, their_dir.path()));
        let what =
            format!("{verb} {id}, cniVersion {version}, {args:?}, {ipam}, {rest}\nours {ours:?}\ntheirs {theirs:?}");
        assert_eq!(ours.success, theirs.success, "{what}");
        if ours.success {
            assert_eq!(ours.stdout.is_empty(), theirs.stdout.is_empty(), "{what}");
            assert_eq!(ours.json(), theirs.json(), "{what}");
        }
        assert_eq!(tree(our_dir.path()), tree(their_dir.path()), "{what}");
        ours.success
    };
    assert!(both("ADD", "c1", args, rest), "the test should begin with a success");
    both("ADD", "c2", "", &json!({}));
    both("ADD", "c3", "", &json!({}));
    if version >= "0.4.0" {
        both("CHECK", "c1", "", &json!({}));
        both("CHECK", "c4", "", &json!({}));
    }
    assert!(both("DEL", "c1", "", &json!({})));
    assert!(both("DEL", "c1", "", &json!({})));
    both("ADD", "c4", "", &json!({}));
    both("ADD", "c1", args, rest);
    for id in ["c1", "c2", "c3", "c4"] {
        assert!(both("DEL", id, args, rest));
    }
}

fn compare(version: &str, ipam: Value) {
    compare_with(version, "", &ipam, &json!({}));
}

const VERSIONS: [&str; 6] = ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0"];

#[test]
fn single_subnet_in_every_version() {
    for version in VERSIONS {
        compare(version, json!({ "subnet": "10.1.0.0/24", "routes": [{ "dst": "0.0.0.0/0" }] }));
    }
}

#[test]
fn dual_stack_in_every_version() {
    for version in VERSIONS {
        let routes = json!([{ "dst": "0.0.0.0/0" }, { "dst": "::/0", "gw": "2001:db8::fe" }]);
        let ranges = json!([[{ "subnet": "10.1.0.0/24" }], [{ "subnet": "2001:db8::/64" }]]);
        compare(version, json!({ "ranges": ranges, "routes": routes }));
    }
}

#[test]
fn ipv6_only() {
    for version in VERSIONS {
        compare(version, json!({ "subnet": "2001:DB8:0:0:1::/80", "routes": [{ "dst": "2001:db8:1::/48" }] }));
    }
}

#[test]
fn bounds_and_gateway_of_the_old_keys() {
    let ipam = json!({
        "subnet": "10.1.0.0/24", "rangeStart": "10.1.0.250", "rangeEnd": "10.1.0.253", "gateway": "10.1.0.251",
    });
    compare("1.0.0", ipam);
}

#[test]
fn several_ranges_in_a_set() {
    let set = json!([
        { "subnet": "10.1.0.0/24", "rangeStart": "10.1.0.10", "rangeEnd": "10.1.0.11" },
        { "subnet": "10.2.0.0/24", "rangeStart": "10.2.0.1", "rangeEnd": "10.2.0.2", "gateway": "10.2.0.254" },
    ]);
    compare("1.0.0", json!({ "ranges": [set] }));
}

#[test]
fn several_sets() {
    let ranges = json!([
        [{ "subnet": "10.1.0.0/24" }, { "subnet": "10.9.0.0/24" }],
        [{ "subnet": "10.2.0.0/16", "rangeStart": "10.2.3.4" }],
        [{ "subnet": "2001:db8::/64", "rangeStart": "2001:db8::ff", "gateway": "2001:db8::ffff" }],
    ]);
    for version in ["0.3.0", "0.3.1", "0.4.0", "1.0.0"] {
        compare(version, json!({ "ranges": ranges }));
    }
}

#[test]
fn old_keys_beside_ranges() {
    compare("1.0.0", json!({ "subnet": "10.1.0.0/24", "ranges": [[{ "subnet": "10.2.0.0/24" }]] }));
}

#[test]
fn the_round_wraps_behind_the_last_address() {
    compare("1.0.0", json!({ "subnet": "10.1.0.0/29", "rangeStart": "10.1.0.2", "rangeEnd": "10.1.0.5" }));
    compare("1.0.0", json!({ "subnet": "2001:db8::/125" }));
}

#[test]
fn requested_through_cni_args() {
    let ipam = json!({ "subnet": "10.1.0.0/24" });
    for args in ["IP=10.1.0.77", "IP=10.1.0.77/24", "IP=10.1.0.77;IgnoreUnknown=1;K8S_POD_NAME=pod", "IP="] {
        compare_with("1.0.0", args, &ipam, &json!({}));
    }
}

#[test]
fn requested_through_args_and_runtime_config() {
    let ipam = json!({ "ranges": [[{ "subnet": "10.1.0.0/24" }], [{ "subnet": "2001:db8::/64" }]] });
    for rest in [
        json!({ "args": { "cni": { "ips": ["10.1.0.9"] } } }),
        json!({ "args": { "cni": { "ips": ["2001:db8::9/64", "10.1.0.9/8"] } } }),
        json!({ "runtimeConfig": { "ips": ["10.1.0.9/24", "2001:db8::9"] } }),
        json!({ "runtimeConfig": { "ips": ["10.1.0.9", "10.1.0.9"] } }),
        json!({ "runtimeConfig": { "ips": ["10.1.0.9"] }, "args": { "cni": { "ips": ["2001:db8::9"] } } }),
    ] {
        compare_with("1.0.0", "", &ipam, &rest);
    }
    compare_with("1.0.0", "IP=10.1.0.9", &ipam, &json!({ "runtimeConfig": { "ips": ["2001:db8::9"] } }));
}

#[test]
fn ranges_through_runtime_config() {
    let rest = json!({ "runtimeConfig": { "ipRanges": [[{ "subnet": "10.7.0.0/24", "gateway": "10.7.0.9" }]] } });
    compare_with("1.0.0", "", &json!({ "subnet": "10.1.0.0/24" }), &rest);
}

#[test]
fn routes() {
    let routes = json!([
        { "dst": "0.0.0.0/0" }, { "dst": "192.0.2.1/24", "gw": "10.1.0.9" }, { "dst": "::/0", "gw": "" }, { "dst": "::1/128" },
    ]);
    for version in VERSIONS {
        compare(version, json!({ "subnet": "10.1.0.0/24", "routes": routes }));
    }
}

#[test]
fn resolv_conf() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("resolv.conf");
    let text = "# node\nnameserver 192.0.2.53\nnameserver 2001:db8::53\nsearch a.example b.example\ndomain c.example\n\
                options ndots:5 edns0\nsortlist 10.0.0.0\nsearch d.example\n";
    std::fs::write(&path, text).unwrap();
    for version in VERSIONS {
        compare(version, json!({ "subnet": "10.1.0.0/24", "resolvConf": path }));
    }
}

/// What the reference refuses before it touches the disk, we refuse, too, and touch as little.
#[test]
fn refused_configs() {
    for (version, args, ipam, rest) in [
        ("1.0.0", "", json!({}), json!({})),
        ("1.0.0", "", json!({ "ranges": [[]] }), json!({})),
        ("1.0.0", "", json!({ "subnet": "10.1.0.7/24" }), json!({})),
        ("1.0.0", "", json!({ "subnet": "10.1.0.0/31" }), json!({})),
        ("1.0.0", "", json!({ "subnet": "2001:db8::/127" }), json!({})),
        ("1.0.0", "", json!({ "subnet": "10.1.0.0" }), json!({})),
        ("1.0.0", "", json!({ "subnet": "::ffff:10.1.0.0/120" }), json!({})),
        ("1.0.0", "", json!({ "subnet": "10.1.0.0/24", "rangeStart": "10.2.0.1" }), json!({})),
        ("1.0.0", "", json!({ "subnet": "10.1.0.0/24", "rangeStart": "10.1.0.9", "rangeEnd": "10.1.0.8" }), json!({})),
        ("1.0.0", "", json!({ "ranges": [[{ "subnet": "10.1.0.0/24" }, { "subnet": "2001:db8::/64" }]] }), json!({})),
        ("1.0.0", "", json!({ "ranges": [[{ "subnet": "10.1.0.0/24" }], [{ "subnet": "10.1.0.0/16" }]] }), json!({})),
        ("0.2.0", "", json!({ "ranges": [[{ "subnet": "10.1.0.0/24" }], [{ "subnet": "10.2.0.0/24" }]] }), json!({})),
        ("1.0.0", "IP=10.1.0.7,10.1.0.8", json!({ "subnet": "10.1.0.0/24" }), json!({})),
        ("1.0.0", "UNKNOWN=1", json!({ "subnet": "10.1.0.0/24" }), json!({})),
        ("1.0.0", "", json!({ "subnet": "10.1.0.0/24" }), json!({ "runtimeConfig": { "ips": [""] } })),
        ("1.0.0", "", json!({ "subnet": "10.1.0.0/24", "resolvConf": "/nonexistent" }), json!({})),
    ] {
        for program in [OURS, REFERENCE] {
            let dir = tempfile::tempdir().unwrap();
            let answer = call(program, "ADD", "c1", args, &config(version, dir.path(), &ipam, &rest));
            assert!(!answer.success, "{program} {ipam} {rest}: {answer:?}");
            assert!(tree(dir.path()).is_empty(), "{program} {ipam} {rest}: {:?}", tree(dir.path()));
        }
    }
}
