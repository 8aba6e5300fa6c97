//! Addresses.

use std::time::Duration;

use ipnetwork::IpNetwork;
use netlink::{Address, Error, LinkChange, Netlink, NewAddress};

use crate::harness::{link, pair, up, veth, wired};

fn new(network: &str) -> NewAddress {
    NewAddress { network: network.parse().unwrap(), nodad: true }
}

fn find(netlink: &Netlink, index: u32, network: &str) -> Option<Address> {
    let network: IpNetwork = network.parse().unwrap();
    netlink.addresses(index).unwrap().into_iter().find(|address| address.network == network)
}

#[test]
fn both_families_are_set_read_and_removed() {
    let pair = pair();
    let (_, eth0) = wired(&pair);
    for network in ["10.22.0.5/16", "10.22.0.6/16", "192.0.2.1/32", "fd00::5/64"] {
        pair.inside.add_address(eth0, &new(network)).unwrap();
        let error = pair.inside.add_address(eth0, &new(network)).unwrap_err();
        assert!(error.is_exists(), "{error}");
        let address = find(&pair.inside, eth0, network).unwrap();
        assert!(address.permanent && !address.tentative && !address.dad_failed, "{address:?}");
        assert_eq!((address.scope, address.secondary), (0, network == "10.22.0.6/16"));
    }
    // Only the interface asked for: lo has none yet, and gets its own without showing up on eth0.
    pair.inside.change_link("lo", &up()).unwrap();
    assert!(find(&pair.inside, eth0, "127.0.0.1/8").is_none());
    assert_eq!(find(&pair.inside, 1, "127.0.0.1/8").unwrap().scope, 254);

    for network in ["10.22.0.6/16", "fd00::5/64"] {
        assert!(pair.inside.delete_address(eth0, network.parse().unwrap()).unwrap());
        assert!(!pair.inside.delete_address(eth0, network.parse().unwrap()).unwrap());
        assert!(find(&pair.inside, eth0, network).is_none());
    }
    assert!(find(&pair.inside, eth0, "10.22.0.5/16").is_some());
}

#[test]
fn an_interface_that_is_gone_is_not_found() {
    let pair = pair();
    assert!(pair.inside.addresses(4711).unwrap_err().is_not_found());
    assert!(pair.inside.add_address(4711, &new("10.0.0.1/24")).unwrap_err().is_not_found());
    assert!(!pair.inside.delete_address(4711, "10.0.0.1/24".parse().unwrap()).unwrap());
}

#[test]
fn an_address_another_host_has_is_a_conflict_and_one_that_nobody_has_settles() {
    let pair = pair();
    wired(&pair);
    let other = crate::harness::namespace();
    let master = link(&pair.host, "cni0").index;
    let mut second = veth("veth1", Some(master), "eth0", &other);
    second.host.mac = None;
    second.peer.mac = None;
    pair.host.create_veth(&second).unwrap();
    let other = other.netlink().unwrap();
    let eth0 = link(&other, "eth0").index;
    other.change_link(eth0, &LinkChange { up: Some(true), ..Default::default() }).unwrap();
    for (netlink, name) in [(&pair.host, "veth0"), (&pair.host, "veth1")] {
        netlink.wait_port_up(link(netlink, name).index, Duration::from_secs(10)).unwrap();
    }

    pair.inside.add_address(link(&pair.inside, "eth0").index, &new("fd00::5/64")).unwrap();
    other.add_address(eth0, &NewAddress { network: "fd00::6/64".parse().unwrap(), nodad: false }).unwrap();
    let settled = other.wait_addresses_settled(eth0, Duration::from_secs(20)).unwrap();
    assert!(settled.iter().any(|address| address.network.ip().to_string() == "fd00::6"));

    other.add_address(eth0, &NewAddress { network: "fd00::5/64".parse().unwrap(), nodad: false }).unwrap();
    let error = other.wait_addresses_settled(eth0, Duration::from_secs(20)).unwrap_err();
    match error {
        Error::AddressConflict { address, index } => {
            assert_eq!((address.to_string().as_str(), index), ("fd00::5", eth0));
        }
        other => panic!("{other}"),
    }
}
