//! Waiting for the kernel.

use std::time::Duration;

use netlink::{Error, OperState, PortState};

use crate::harness::{bridge, link, pair, up, veth};

#[test]
fn a_port_is_up_once_the_far_end_is() {
    let pair = pair();
    pair.host.create_bridge(&bridge("cni0")).unwrap();
    let master = link(&pair.host, "cni0").index;
    pair.host.create_veth(&veth("veth0", Some(master), "eth0", &pair.pod)).unwrap();
    let port = link(&pair.host, "veth0");
    assert_ne!(port.oper_state, OperState::Up);

    let error = pair.host.wait_port_up(port.index, Duration::ZERO).unwrap_err();
    assert!(matches!(error, Error::Timeout { .. }), "{error}");
    assert!(error.to_string().contains("veth0 is on"), "{error}");

    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| pair.host.wait_port_up(port.index, Duration::from_secs(20)));
        pair.inside.change_link("eth0", &up()).unwrap();
        let port = waiting.join().unwrap().unwrap();
        assert_eq!((port.oper_state, port.port.unwrap().state), (OperState::Up, PortState::Forwarding));
    });
}

#[test]
fn a_change_made_during_the_wait_is_heard() {
    let pair = pair();
    pair.host.create_bridge(&bridge("cni0")).unwrap();
    let index = link(&pair.host, "cni0").index;
    // The predicate itself makes the change once the wait has looked twice: the second look comes after the
    // subscription, so that only the event can wake it.
    let (looks, other) = (std::cell::Cell::new(0), pair.node.netlink().unwrap());
    let seen = pair
        .host
        .wait_link(index, "an alias", Duration::from_secs(20), |link| {
            looks.set(looks.get() + 1);
            if looks.get() == 2 {
                let change = netlink::LinkChange { alias: Some("now".into()), ..Default::default() };
                other.change_link(index, &change).unwrap();
            }
            link.alias.as_deref() == Some("now")
        })
        .unwrap();
    assert_eq!((seen.alias.as_deref(), looks.get()), (Some("now"), 3));
}

#[test]
fn a_link_that_goes_away_ends_the_wait() {
    let pair = pair();
    pair.host.create_bridge(&bridge("cni0")).unwrap();
    let index = link(&pair.host, "cni0").index;
    let other = pair.node.netlink().unwrap();
    let error = pair
        .host
        .wait_link(index, "something that never comes", Duration::from_secs(20), |_| {
            other.delete_link(index).unwrap();
            false
        })
        .unwrap_err();
    assert!(error.is_not_found(), "{error}");
    assert!(pair.host.wait_addresses_settled(index, Duration::from_secs(20)).unwrap_err().is_not_found());
}
