//! Changing links.

use netlink::{AddrGenMode, LinkChange, NewBridge, PortChange};

use crate::harness::{bridge, link, mac, pair, veth};

#[test]
fn everything_changes_with_one_call_by_index_and_by_name() {
    let pair = pair();
    pair.host.create_veth(&veth("veth0", None, "eth0", &pair.pod)).unwrap();
    let index = link(&pair.host, "veth0").index;
    let change = LinkChange {
        up: Some(false),
        name: Some("renamed".into()),
        mtu: Some(1280),
        mac: Some(mac(9)),
        alias: Some("pod 1/eth0 é".into()),
        promiscuous: Some(true),
        addr_gen_mode: Some(AddrGenMode::None),
        ..Default::default()
    };
    pair.host.change_link(index, &LinkChange { up: Some(false), ..Default::default() }).unwrap();
    pair.host.change_link(index, &change).unwrap();
    let now = link(&pair.host, "renamed");
    assert_eq!((now.index, now.up, now.mtu, now.mac), (index, false, 1280, Some(mac(9))));
    assert_eq!((now.alias.as_deref(), now.promiscuous), (Some("pod 1/eth0 é"), true));
    assert_eq!(now.addr_gen_mode, Some(AddrGenMode::None));

    let back = LinkChange {
        name: Some("veth0".into()),
        alias: Some(String::new()),
        promiscuous: Some(false),
        addr_gen_mode: Some(AddrGenMode::Eui64),
        ..Default::default()
    };
    pair.host.change_link("renamed", &back).unwrap();
    let now = link(&pair.host, "veth0");
    assert_eq!((now.index, now.alias, now.promiscuous), (index, None, false));
    assert_eq!((now.mtu, now.addr_gen_mode), (1280, Some(AddrGenMode::Eui64)));
}

#[test]
fn port_settings_come_with_the_master_and_change_alone() {
    let pair = pair();
    pair.host.create_bridge(&bridge("cni0")).unwrap();
    pair.host.create_veth(&veth("veth0", None, "eth0", &pair.pod)).unwrap();
    let master = link(&pair.host, "cni0").index;
    let port = |hairpin, isolated| LinkChange { port: Some(PortChange { hairpin, isolated }), ..Default::default() };

    let error = pair.host.change_link("veth0", &port(Some(true), None)).unwrap_err();
    assert!(error.to_string().contains("veth0 (hairpin on)"), "{error}");

    pair.host.change_link("veth0", &LinkChange { master: Some(master), ..port(Some(true), Some(true)) }).unwrap();
    let now = link(&pair.host, "veth0");
    let settings = now.port.unwrap();
    assert_eq!((now.master, settings.hairpin, settings.isolated), (Some(master), true, true));

    pair.host.change_link(now.index, &port(None, Some(false))).unwrap();
    let settings = link(&pair.host, "veth0").port.unwrap();
    assert!(settings.hairpin && !settings.isolated);

    pair.host.change_link("veth0", &LinkChange { master: Some(0), ..Default::default() }).unwrap();
    let now = link(&pair.host, "veth0");
    assert_eq!((now.master, now.port), (None, None));
}

#[test]
fn a_link_that_is_not_there_is_not_found() {
    let pair = pair();
    for change in [
        LinkChange { up: Some(true), ..Default::default() },
        LinkChange { name: Some("new".into()), ..Default::default() },
        LinkChange { port: Some(PortChange { hairpin: Some(true), isolated: None }), ..Default::default() },
    ] {
        assert!(pair.host.change_link("gone0", &change).unwrap_err().is_not_found());
        assert!(pair.host.change_link(4711, &change).unwrap_err().is_not_found());
    }
    assert_eq!(pair.host.link(4711).unwrap(), None);
    assert_eq!(pair.host.link("gone0").unwrap(), None);
}

#[test]
fn a_name_that_is_taken_exists() {
    let pair = pair();
    pair.host.create_veth(&veth("veth0", None, "eth0", &pair.pod)).unwrap();
    pair.host.create_bridge(&NewBridge { up: false, ..bridge("cni0") }).unwrap();
    let error = pair.host.change_link("cni0", &LinkChange { name: Some("veth0".into()), ..Default::default() });
    assert!(error.as_ref().unwrap_err().is_exists(), "{error:?}");
}
