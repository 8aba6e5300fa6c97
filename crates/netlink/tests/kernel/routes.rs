//! Routes.

use std::time::Duration;

use netlink::{Family, Netlink, NewAddress, Route};

use crate::harness::{pair, wired};

fn addressed(netlink: &Netlink, index: u32) {
    for network in ["10.22.0.5/16", "fd00::5/64"] {
        netlink.add_address(index, &NewAddress { network: network.parse().unwrap(), nodad: true }).unwrap();
    }
}

fn route(dst: &str, gateway: Option<&str>, oif: u32) -> Route {
    Route::new(dst.parse().unwrap(), gateway.map(|gateway| gateway.parse().unwrap()), oif)
}

#[test]
fn every_attribute_goes_there_and_back() {
    let pair = pair();
    let (_, eth0) = wired(&pair);
    addressed(&pair.inside, eth0);
    for (family, full) in [
        (
            Family::V4,
            Route {
                mtu: Some(1400),
                advmss: Some(1340),
                priority: Some(77),
                table: Some(1000),
                scope: Some(0),
                source: Some("10.22.0.5".parse().unwrap()),
                onlink: true,
                ..route("192.168.7.0/24", Some("172.16.0.1"), eth0)
            },
        ),
        (
            Family::V6,
            Route {
                mtu: Some(1400),
                advmss: Some(1340),
                priority: Some(77),
                table: Some(100),
                scope: Some(0),
                source: Some("fd00::5".parse().unwrap()),
                ..route("fd77::/48", Some("fd00::1"), eth0)
            },
        ),
    ] {
        pair.inside.add_route(&full).unwrap();
        assert_eq!(pair.inside.routes(family, full.table, Some(eth0)).unwrap(), std::slice::from_ref(&full));
        let error = pair.inside.add_route(&full).unwrap_err();
        assert!(error.is_exists(), "{error}");
        assert_eq!(pair.inside.routes(family, full.table, Some(1)).unwrap(), []);
    }
}

#[test]
fn defaults_are_those_of_ip_route() {
    let pair = pair();
    let (_, eth0) = wired(&pair);
    addressed(&pair.inside, eth0);
    pair.inside.add_route(&route("0.0.0.0/0", Some("10.22.0.1"), eth0)).unwrap();
    pair.inside.add_route(&route("::/0", Some("fd00::1"), eth0)).unwrap();
    // Host bits, and no gateway.
    pair.inside.add_route(&route("192.0.2.77/24", None, eth0)).unwrap();
    // An IPv4 destination behind an IPv6 gateway (RTA_VIA).
    pair.inside.add_route(&route("198.51.100.0/24", Some("fd00::1"), eth0)).unwrap();

    let v4 = pair.inside.routes(Family::V4, Some(254), None).unwrap();
    let found = |dst: &str| v4.iter().find(|route| route.dst == dst.parse().unwrap()).unwrap();
    let default = found("0.0.0.0/0");
    assert_eq!((default.gateway, default.oif, default.scope), (Some([10, 22, 0, 1].into()), eth0, Some(0)));
    assert_eq!((found("192.0.2.0/24").gateway, found("192.0.2.0/24").scope), (None, Some(253)));
    assert_eq!(found("198.51.100.0/24").gateway, Some("fd00::1".parse().unwrap()));
    // What the kernel made of the address.
    assert_eq!(found("10.22.0.0/16").source, Some([10, 22, 0, 5].into()));
    assert_eq!(v4.len(), 4, "no local and no broadcast routes: {v4:?}");

    let v6 = pair.inside.routes(Family::V6, Some(254), Some(eth0)).unwrap();
    let default = v6.iter().find(|route| route.dst.prefix() == 0).unwrap();
    assert_eq!((default.gateway, default.priority), (Some("fd00::1".parse().unwrap()), Some(1024)));
}

#[test]
fn what_is_not_there_is_empty_or_not_found() {
    let pair = pair();
    assert_eq!(pair.inside.routes(Family::V4, Some(4711), None).unwrap(), []);
    assert_eq!(pair.inside.routes(Family::V6, Some(4711), None).unwrap(), []);
    assert!(pair.inside.routes(Family::V4, None, Some(4711)).unwrap_err().is_not_found());
    assert!(pair.inside.add_route(&route("192.0.2.0/24", None, 4711)).unwrap_err().is_not_found());
    let (_, eth0) = wired(&pair);
    let error = pair.inside.add_route(&route("0.0.0.0/0", Some("10.9.9.9"), eth0)).unwrap_err().to_string();
    assert!(error.contains("route to 0.0.0.0/0 via 10.9.9.9") && error.contains("kernel:"), "{error}");
}

#[test]
fn the_way_to_an_address_is_the_kernels() {
    let pair = pair();
    let (_, eth0) = wired(&pair);
    addressed(&pair.inside, eth0);
    pair.inside.wait_addresses_local(eth0, &["fd00::5".parse().unwrap()], Duration::from_secs(10)).unwrap();
    pair.inside.add_route(&route("192.168.7.0/24", Some("10.22.0.1"), eth0)).unwrap();
    let way = |to: &str| pair.inside.way_to(to.parse().unwrap()).unwrap().map(|way| (way.local, way.on_link));
    for own in ["10.22.0.5", "fd00::5"] {
        assert!(way(own).is_some_and(|(local, _)| local), "{own}");
    }
    assert_eq!(way("10.22.0.6"), Some((false, Some(eth0))));
    assert_eq!(way("fd00::6"), Some((false, Some(eth0))));
    assert_eq!(way("192.168.7.1"), Some((false, None)), "behind a router");
    assert_eq!((way("192.0.2.1"), way("2001:db8::1")), (None, None));
}
