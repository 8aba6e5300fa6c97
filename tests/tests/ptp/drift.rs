//! CHECK: content with what ADD made, and with each single drift it names what and what it found.

use podlink_tests::Attached;
use serde_json::json;

use crate::ptp;

/// A drift: how it is made (a command on the node, or in the pod after `pod:`), and what the error must say. `HOST` is the
/// node's end of the link.
const DRIFTS: &[(&str, &[&str])] = &[
    ("ip link del HOST", &["eth0", "no interface"]),
    ("ip link set HOST down", &["HOST", "expected up"]),
    ("pod: ip link set eth0 down", &["eth0", "expected up", "found down"]),
    ("pod: ip link set eth0 address 02:00:00:00:00:aa", &["eth0", "MAC", "02:00:00:00:00:aa"]),
    ("ip link set HOST address 02:00:00:00:00:aa", &["HOST", "MAC", "02:00:00:00:00:aa"]),
    ("ip link set HOST mtu 1300", &["HOST", "mtu 1400", "1300"]),
    ("pod: ip link set eth0 mtu 1300", &["eth0", "mtu 1400", "1300"]),
    ("pod: ip addr del 10.31.0.2/24 dev eth0", &["eth0", "10.31.0.2/24"]),
    ("pod: ip addr del fd31::2/64 dev eth0", &["eth0", "fd31::2/64"]),
    ("pod: ip route del default", &["0.0.0.0/0 via 10.31.0.1"]),
    ("pod: ip -6 route del default", &["::/0 via fd31::1"]),
    ("pod: ip route del 10.31.0.0/24", &["10.31.0.0/24 via 10.31.0.1"]),
    ("pod: ip -6 route del fd31::1", &["fd31::1/128"]),
    ("ip addr del 10.31.0.1/32 dev HOST", &["HOST", "10.31.0.1/32"]),
    ("ip addr del fd31::1/128 dev HOST", &["HOST", "fd31::1/128"]),
    ("ip route del 10.31.0.2", &["HOST", "route to 10.31.0.2/32"]),
    ("ip -6 route del fd31::2", &["HOST", "route to fd31::2/128"]),
    ("busybox sysctl -w net.ipv4.ip_forward=0", &["ip_forward", "expected 1"]),
    ("busybox sysctl -w net.ipv6.conf.all.forwarding=0", &["forwarding", "expected 1"]),
    ("nft flush map inet podlink_masq pods4", &["ipMasq", "10.31.0.2"]),
    ("rm /var/lib/cni/networks/net/10.31.0.2", &["IPAM", "10.31.0.2"]),
];

#[test]
fn each_drift_is_found_and_named() {
    for (line, words) in DRIFTS {
        let at = Attached::to(&ptp(json!({ "mtu": 1400, "ipMasq": true })));
        at.call().check().success();
        let host = at.result["interfaces"][0]["name"].as_str().unwrap().to_owned();
        let (place, command) = match line.strip_prefix("pod: ") {
            Some(command) => (&*at.pod, command),
            None => (&**at, *line),
        };
        let command = command.replace("HOST", &host);
        place.sh(&command.split(' ').collect::<Vec<_>>());
        let error = at.call().check().failure();
        for word in *words {
            assert!(error.text.contains(&word.replace("HOST", &host)), "{line}: no {word:?} in {error:?}");
        }
        // And it is no hindrance to DEL.
        at.call().del().success();
        assert_eq!((at.link_names(), at.reserved("net")), (vec![], vec![]), "{line}");
    }
}

#[test]
fn without_a_prev_result_it_says_so() {
    let at = Attached::to(&ptp(json!({})));
    let error = at.typed(&at.config).pod(&at.pod).check().failure();
    assert_eq!(error.code, 7, "{error:?}");
}
