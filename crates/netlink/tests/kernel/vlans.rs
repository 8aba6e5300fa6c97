//! VLANs of a bridge's ports, where the kernel can filter by VLAN; where it cannot, that this is told.

use netlink::{LinkChange, LinkKind, NewBridge, PortVlan};

use crate::harness::{Pair, bridge, link, pair, veth};

fn can_filter(pair: &Pair) -> bool {
    match pair.host.create_bridge(&NewBridge { vlan_filtering: true, ..bridge("cni0") }) {
        Ok(()) => true,
        Err(error) => {
            assert!(error.to_string().contains("built without VLAN filtering"), "{error}");
            pair.host.create_bridge(&bridge("cni0")).unwrap();
            false
        }
    }
}

fn tagged(vid: u16) -> PortVlan {
    PortVlan { vid, pvid: false, untagged: false }
}

fn native(vid: u16) -> PortVlan {
    PortVlan { vid, pvid: true, untagged: true }
}

#[test]
fn vlans_are_added_read_and_removed_or_the_kernel_says_it_cannot() {
    let pair = pair();
    let can = can_filter(&pair);
    let cni0 = link(&pair.host, "cni0").index;
    assert_eq!(link(&pair.host, "cni0").kind, LinkKind::Bridge { vlan_filtering: can });
    pair.host.create_veth(&veth("veth0", Some(cni0), "eth0", &pair.pod)).unwrap();
    let port = link(&pair.host, "veth0").index;
    if !can {
        assert_eq!(pair.host.vlans(port).unwrap(), []);
        let error = pair.host.add_vlans(port, &[tagged(10)]).unwrap_err().to_string();
        assert!(error.contains("add VLANs 10 to port") && error.contains("without VLAN filtering"), "{error}");
        return;
    }
    assert_eq!(pair.host.vlans(cni0).unwrap(), [native(1)]);
    assert_eq!(pair.host.vlans(port).unwrap(), [native(1)]);

    let trunk: Vec<_> = (10..=20).map(tagged).chain([native(100)]).collect();
    pair.host.add_vlans(port, &trunk).unwrap();
    pair.host.delete_vlans(port, &[1, 12, 13, 20]).unwrap();
    pair.host.delete_vlans(port, &[1, 12]).unwrap();
    let left: Vec<_> = trunk.into_iter().filter(|vlan| ![12, 13, 20].contains(&vlan.vid)).collect();
    assert_eq!(pair.host.vlans(port).unwrap(), left);
    assert_eq!(pair.host.vlans(cni0).unwrap(), [native(1)]);
    assert!(pair.host.add_vlans(port, &[tagged(4095)]).is_err());

    let all: Vec<_> = (1..=4094).map(tagged).collect();
    pair.host.add_vlans(port, &all).unwrap();
    assert_eq!(pair.host.vlans(port).unwrap().len(), 4094);
    pair.host.delete_vlans(port, &(1..=4094).collect::<Vec<_>>()).unwrap();
    assert_eq!(pair.host.vlans(port).unwrap(), []);
    pair.host.add_vlans(port, &[]).unwrap();
}

#[test]
fn filtering_is_switched_on_and_off_later() {
    let pair = pair();
    let can = can_filter(&pair);
    for vlan_filtering in [false, true] {
        let change = LinkChange { vlan_filtering: Some(vlan_filtering), ..Default::default() };
        match pair.host.change_link("cni0", &change) {
            Ok(()) => assert_eq!(link(&pair.host, "cni0").kind, LinkKind::Bridge { vlan_filtering }),
            Err(error) => assert!(!can && error.to_string().contains("built without VLAN filtering"), "{error}"),
        }
    }
}
