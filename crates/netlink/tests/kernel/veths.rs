//! Creating veth pairs across namespaces, and deleting them.

use netlink::{Error, LinkKind};

use crate::harness::{bridge, link, mac, namespace, pair, veth, wired};

#[test]
fn both_ends_are_born_where_and_as_asked() {
    let pair = pair();
    pair.host.create_bridge(&bridge("cni0")).unwrap();
    let master = link(&pair.host, "cni0").index;
    let mut new = veth("veth0", Some(master), "eth0", &pair.pod);
    new.host.mtu = Some(1400);
    new.peer.mtu = Some(1300);
    pair.host.create_veth(&new).unwrap();

    let (host, inside) = (link(&pair.host, "veth0"), link(&pair.inside, "eth0"));
    assert_eq!((host.mac, host.mtu, host.up, host.master), (Some(mac(2)), 1400, true, Some(master)));
    assert_eq!((inside.mac, inside.mtu, inside.up, inside.master), (Some(mac(3)), 1300, false, None));
    assert_eq!((host.peer_index, inside.peer_index), (Some(inside.index), Some(host.index)));
    assert!(host.peer_netnsid.is_some() && host.port.is_some());
    assert_eq!((&host.kind, &inside.kind), (&LinkKind::Veth, &LinkKind::Veth));
    assert_eq!(host.promiscuity, 1, "a bridge's port");
    assert!(!host.promiscuous);
    assert_eq!(pair.host.link("eth0").unwrap(), None);
    assert_eq!(link(&pair.host, "lo").kind, LinkKind::Loopback);
}

#[test]
fn a_taken_name_is_told_by_the_side_it_is_taken_on_and_nothing_is_made() {
    let pair = pair();
    pair.host.create_veth(&veth("veth0", None, "eth0", &pair.pod)).unwrap();

    let error = pair.host.create_veth(&veth("veth0", None, "eth1", &pair.pod)).unwrap_err();
    assert!(error.is_exists(), "{error}");
    assert!(error.to_string().contains("veth0 is taken"), "{error}");
    assert_eq!(pair.inside.link("eth1").unwrap(), None);

    let error = pair.host.create_veth(&veth("veth1", None, "eth0", &pair.pod)).unwrap_err();
    assert!(matches!(error, Error::PeerExists(_)), "{error}");
    assert!(error.to_string().contains("veth1 - eth0"), "{error}");
    assert_eq!(pair.host.link("veth1").unwrap(), None);
}

#[test]
fn a_bridge_that_went_away_is_named_and_nothing_is_made() {
    let pair = pair();
    let error = pair.host.create_veth(&veth("veth0", Some(4711), "eth0", &pair.pod)).unwrap_err();
    assert!(error.is_not_found(), "{error}");
    assert!(error.to_string().contains("bridge #4711 is gone") || error.to_string().contains("kernel:"), "{error}");
    assert_eq!(pair.host.link("veth0").unwrap(), None);
    assert_eq!(pair.inside.link("eth0").unwrap(), None);
}

#[test]
fn deleting_takes_both_ends_and_twice_is_fine() {
    let pair = pair();
    pair.host.create_veth(&veth("veth0", None, "eth0", &pair.pod)).unwrap();
    let index = link(&pair.inside, "eth0").index;
    assert!(pair.inside.delete_link("eth0").unwrap());
    assert_eq!(pair.host.link("veth0").unwrap(), None);
    assert!(!pair.inside.delete_link("eth0").unwrap());
    assert!(!pair.inside.delete_link(index).unwrap());
    assert!(pair.inside.delete_link("lo").is_err());
}

#[test]
fn what_follows_a_deletion_runs_when_the_link_is_gone_and_only_then() {
    let pair = pair();
    let (host, _) = wired(&pair);
    // That it leaves its bridge is told in the words of a deletion, and is none: the far end would still be there.
    let seen = pair.host.delete_link_then("veth0", || (pair.host.link("veth0"), pair.inside.link("eth0"))).unwrap();
    let (node, pod) = seen.unwrap();
    assert_eq!((node.unwrap(), pod.unwrap()), (None, None));
    assert_eq!(pair.host.link(host).unwrap(), None, "and it stays gone");
}

#[test]
fn nothing_follows_a_deletion_that_did_not_happen() {
    let pair = pair();
    assert_eq!(pair.host.delete_link_then("veth0", || panic!("there was none")).unwrap(), None::<()>);
    // Of a veth's two ends each can be deleted; `lo` cannot.
    let error = pair.host.delete_link_then("lo", || panic!("it is there")).map(|_: Option<()>| ()).unwrap_err();
    assert!(error.to_string().contains("delete interface lo"), "{error}");
}

#[test]
fn the_number_of_the_far_ends_namespace_is_that_namespaces_only() {
    let (pair, other) = (pair(), namespace());
    assert_eq!(pair.host.id_of(&pair.pod).unwrap(), None, "nothing leads there yet");
    pair.host.create_veth(&veth("veth0", None, "eth0", &pair.pod)).unwrap();
    let id = link(&pair.host, "veth0").peer_netnsid;
    assert!(id.is_some());
    assert_eq!(pair.host.id_of(&pair.pod).unwrap(), id);
    assert_eq!(pair.host.id_of(&other).unwrap(), None);
}
