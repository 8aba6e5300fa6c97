//! Creating bridges.

use std::sync::Barrier;

use netlink::{Error, LinkKind, NewBridge};

use crate::harness::{bridge, link, mac, namespace, pair, veth};

#[test]
fn a_bridge_has_what_it_was_given_and_its_mac_stays_put() {
    let pair = pair();
    pair.host.create_bridge(&NewBridge { mtu: Some(1400), ..bridge("cni0") }).unwrap();
    let cni0 = link(&pair.host, "cni0");
    assert_eq!(
        (cni0.mac, cni0.mtu, cni0.up, &cni0.kind),
        (Some(mac(1)), 1400, true, &LinkKind::Bridge { vlan_filtering: false })
    );
    assert!(cni0.is_bridge() && !cni0.is_veth() && cni0.master.is_none() && cni0.port.is_none());

    // A port with a lower address: a bridge with an address of the kernel's choice would take it over.
    let mut lower = veth("veth0", Some(cni0.index), "eth0", &pair.pod);
    lower.host.mac = Some([0x02, 0, 0, 0, 0, 1].into());
    pair.host.create_veth(&lower).unwrap();
    assert_eq!(link(&pair.host, "cni0").mac, Some(mac(1)));
    let ports: Vec<_> = pair.host.ports(cni0.index).unwrap().into_iter().map(|link| link.name).collect();
    assert_eq!(ports, ["veth0"]);
}

#[test]
fn of_many_that_create_one_bridge_one_succeeds_and_the_others_are_told() {
    let node = namespace();
    let start = Barrier::new(8);
    let results: Vec<_> = std::thread::scope(|scope| {
        let racers: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    let netlink = node.netlink().unwrap();
                    start.wait();
                    netlink.create_bridge(&bridge("cni0"))
                })
            })
            .collect();
        racers.into_iter().map(|racer| racer.join().unwrap()).collect()
    });
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1, "{results:?}");
    for error in results.into_iter().filter_map(Result::err) {
        assert!(error.is_exists(), "{error}");
        assert_eq!(error.to_string(), "cannot create bridge cni0: it already exists");
    }
}

#[test]
fn an_impossible_name_never_reaches_the_kernel() {
    let node = namespace().netlink().unwrap();
    let error = node.create_bridge(&bridge("a-name-too-long-for-a-link")).unwrap_err();
    assert!(matches!(error, Error::InvalidName { .. }), "{error}");
    assert!(node.link("a-name-too-long-for-a-link").is_err());
}

#[test]
fn the_kernels_own_words_reach_the_error() {
    let node = namespace().netlink().unwrap();
    let error = node.create_bridge(&NewBridge { mac: Some([0xff; 6].into()), ..bridge("cni0") }).unwrap_err();
    assert!(error.to_string().starts_with("cannot create bridge cni0: "), "{error}");
    let error = node.create_bridge(&NewBridge { mtu: Some(70_000), ..bridge("cni0") }).unwrap_err();
    assert!(error.to_string().contains("(kernel: mtu greater than device maximum)"), "{error}");
    assert_eq!(node.link("cni0").unwrap(), None);
}
