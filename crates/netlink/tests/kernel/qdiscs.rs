//! Traffic control: what was set is read back.

use netlink::{Filter, Handle, HtbClass, LinkChange, NewIfb, Qdisc, Rate, Side, SubnetFilter};

use crate::harness::{Pair, link, pair, veth};

const ONE: Handle = Handle { major: 1, minor: 0 };
const RATE: Rate = Rate { bytes_per_second: 1_250_000, burst: 31_250 };

fn bucket(rate: Rate) -> Qdisc {
    Qdisc::TokenBucket { rate, limit: 62_500 }
}

/// The index of a veth's end on the node, and of an ifb.
fn devices(pair: &Pair) -> (u32, u32) {
    pair.host.create_veth(&veth("veth0", None, "eth0", &pair.pod)).unwrap();
    pair.host.create_ifb(&NewIfb { name: "ifb0", mtu: 1400, tx_queue_len: 1000, up: true }).unwrap();
    (link(&pair.host, "veth0").index, link(&pair.host, "ifb0").index)
}

#[test]
fn an_ifb_is_born_whole_and_once() {
    let pair = pair();
    let new = NewIfb { name: "ifb0", mtu: 1400, tx_queue_len: 777, up: true };
    pair.host.create_ifb(&new).unwrap();
    let ifb = link(&pair.host, "ifb0");
    assert_eq!((ifb.mtu, ifb.tx_queue_len, ifb.up, ifb.kind.to_string().as_str()), (1400, 777, true, "ifb"));
    assert!(pair.host.create_ifb(&new).unwrap_err().is_exists());
}

#[test]
fn queue_length_and_all_multicast_change_and_are_read() {
    let pair = pair();
    let (index, _) = devices(&pair);
    let before = link(&pair.host, "veth0");
    assert!(!before.all_multicast);
    let change = LinkChange { all_multicast: Some(true), tx_queue_len: Some(55), ..LinkChange::default() };
    pair.host.change_link(index, &change).unwrap();
    let now = link(&pair.host, "veth0");
    assert_eq!((now.all_multicast, now.tx_queue_len, now.promiscuous), (true, 55, false));
    pair.host.change_link(index, &LinkChange { all_multicast: Some(false), ..LinkChange::default() }).unwrap();
    assert!(!link(&pair.host, "veth0").all_multicast);
}

#[test]
fn a_root_qdisc_is_set_changed_replaced_and_removed() {
    let pair = pair();
    let (_, index) = devices(&pair);
    let root = || pair.host.qdisc(index, Handle::ROOT).unwrap();
    let huge = Rate { bytes_per_second: 12_500_000_000, burst: 1 << 30 };
    let slow = Rate { bytes_per_second: 1_000, burst: u32::MAX };
    for rate in [RATE, Rate { bytes_per_second: 1, burst: 2_000 }, huge, slow, RATE] {
        pair.host.set_qdisc(index, Handle::ROOT, ONE, &bucket(rate)).unwrap();
        let Some((ONE, Qdisc::TokenBucket { rate: found, limit: 62_500 })) = root() else { panic!("{:?}", root()) };
        assert!(rate.is(&found), "{rate:?} {found:?}");
    }
    let htb = Qdisc::Htb { default_class: 0x30 };
    for _ in 0..2 {
        pair.host.set_qdisc(index, Handle::ROOT, ONE, &htb).unwrap();
        assert_eq!(root(), Some((ONE, htb.clone())));
    }
    assert!(pair.host.delete_qdisc(index, Handle::ROOT).unwrap());
    assert!(!pair.host.delete_qdisc(index, Handle::ROOT).unwrap());
    assert!(!matches!(root(), Some((_, Qdisc::Htb { .. }))));
    assert!(pair.host.set_qdisc(4711, Handle::ROOT, ONE, &htb).unwrap_err().is_not_found());
}

#[test]
fn classes_and_subnets_read_back() {
    let pair = pair();
    let (_, index) = devices(&pair);
    let class = |minor| Handle { major: 1, minor };
    pair.host.set_qdisc(index, Handle::ROOT, ONE, &Qdisc::Htb { default_class: 0x30 }).unwrap();
    let open = HtbClass { id: class(1), rate: Rate { bytes_per_second: 100_000_000_000, burst: 0 } };
    let slow = HtbClass { id: class(0x30), rate: Rate { bytes_per_second: 1_000, burst: u32::MAX } };
    for wanted in [&open, &slow] {
        pair.host.set_class(index, wanted).unwrap();
    }
    let found = pair.host.classes(index).unwrap();
    for wanted in [&open, &slow] {
        assert!(found.iter().any(|found| found.id == wanted.id && wanted.rate.is(&found.rate)), "{found:?}");
    }
    let queue = Qdisc::ByteFifo { limit: 31_250 };
    pair.host.set_qdisc(index, class(0x30), class(0), &queue).unwrap_err();
    pair.host.set_qdisc(index, class(0x30), Handle { major: 0x30, minor: 0 }, &queue).unwrap();
    assert_eq!(pair.host.qdisc(index, class(0x30)).unwrap(), Some((Handle { major: 0x30, minor: 0 }, queue)));

    let filters: Vec<_> = ["10.1.0.0/16", "0.0.0.0/0", "fd00:1:2:3::/64", "::/0", "1.2.3.4/32", "fd00::1/128"]
        .iter()
        .flat_map(|subnet| [Side::Source, Side::Destination].map(|side| (subnet, side)))
        .map(|(subnet, side)| SubnetFilter { subnet: subnet.parse().unwrap(), side, class: class(1) })
        .collect();
    for filter in &filters {
        pair.host.add_subnet_filter(index, filter).unwrap();
    }
    let found = pair.host.filters(index, ONE).unwrap();
    assert_eq!(found.len(), filters.len(), "{found:?}");
    for filter in filters {
        assert!(found.contains(&Filter::Subnet(filter)), "{filter:?} in {found:?}");
    }
}

#[test]
fn what_comes_in_is_redirected() {
    let pair = pair();
    let (index, ifb) = devices(&pair);
    assert_eq!(pair.host.qdisc(index, Handle::INGRESS).unwrap(), None);
    pair.host.add_ingress(index).unwrap();
    assert!(pair.host.add_ingress(index).unwrap_err().is_exists());
    assert_eq!(pair.host.qdisc(index, Handle::INGRESS).unwrap(), Some((Handle::INGRESS_QDISC, Qdisc::Ingress)));
    pair.host.redirect_ingress(index, ifb).unwrap();
    assert_eq!(pair.host.filters(index, Handle::INGRESS_QDISC).unwrap(), [Filter::RedirectAll { to: ifb }]);
    assert!(pair.host.redirect_ingress(index, 4711).is_err());
    assert!(pair.host.delete_qdisc(index, Handle::INGRESS).unwrap());
    assert_eq!(pair.host.filters(index, Handle::INGRESS_QDISC).unwrap(), []);
    // The kernel keeps the empty place.
    assert_eq!(pair.host.qdisc(index, Handle::INGRESS).unwrap(), None);
    assert!(!pair.host.delete_qdisc(index, Handle::INGRESS).unwrap());
}
