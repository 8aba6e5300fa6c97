//! What is dead goes, with all that belongs to it, and nothing else does.

use podlink_tests::BinDir;
use serde_json::Value;

use crate::site::{Records, Site};

#[test]
fn a_pod_whose_namespace_went_without_del_is_dead_in_every_part() {
    for records in [Records::Kept, Records::Lost] {
        let site = Site::new("10.219.11.0/24");
        let (living, gone) = (site.node.pod("living"), site.node.pod("gone"));
        let kept = site.add(&living, records, 8080);
        let lost = site.add(&gone, records, 8081);
        gone.destroy();
        site.until_no_pair_but(1);
        site.age_all();

        let (code, dead, suspected) = site.leaks();
        assert_eq!((code, suspected), (1, vec![]));
        let expected =
            [format!("address {lost}"), "rules inet podlink_hostport".into(), "rules inet podlink_masq".into()];
        assert_eq!(dead, expected);
        let (verdict, evidence) = site.verdict(&lost);
        assert_eq!(verdict, "dead");
        assert!(
            evidence.contains("no network namespace has the address") && evidence.contains("is gone"),
            "{evidence}"
        );

        let before = site.state();
        let dry = site.podlink(&["gc", "--dry-run"]);
        assert!(dry.code == Some(0) && dry.stdout.contains(&format!("would remove address {lost} of ")), "{dry}");
        assert_eq!(site.state(), before, "a dry run changes nothing");

        assert_eq!(site.gc(), expected);
        assert_eq!(site.leaks(), (0, vec![], vec![]));
        assert_eq!(site.verdict(&kept).0, "alive");
        assert_eq!(site.rules_with(&lost), [""; 0]);
        assert!(!site.rules_with(&kept).is_empty(), "the other pod's rules are there");
        assert_eq!(site.node.reserved("net"), [kept]);
    }
}

#[test]
fn a_pair_deleted_by_hand_frees_the_address_unless_the_runtime_still_has_the_pod() {
    for records in [Records::Kept, Records::Lost] {
        let site = Site::new("10.219.12.0/24");
        let pod = site.node.pod("a");
        let address = site.add(&pod, records, 8080);
        let pair = site.node.link_names().into_iter().find(|name| name.starts_with("veth")).unwrap();
        site.node.sh(&["ip", "link", "del", &pair]);
        assert!(site.gc().is_empty(), "too young to be called a leak");
        site.age(&address);
        let (verdict, evidence) = site.verdict(&address);
        let before = site.state();
        let removed = site.gc();
        if records == Records::Kept {
            // The runtime will call DEL for it.
            assert_eq!(verdict, "unknown");
            assert!(evidence.contains("the namespace /run/netns/a is there"), "{evidence}");
            assert!(removed.is_empty());
            assert_eq!(site.state(), before);
        } else {
            assert_eq!(verdict, "dead");
            assert!(evidence.contains(&format!("the interface {pair} on the node is gone")), "{evidence}");
            assert_eq!(removed[0], format!("address {address}"));
            assert!(site.node.reserved("net").is_empty());
        }
        site.runtime("del", &pod, records, 8080).success();
    }
}

#[test]
fn rules_without_an_address_go_through_their_plugins() {
    let site = Site::new("10.219.13.0/24");
    let (living, gone) = (site.node.pod("living"), site.node.pod("gone"));
    let kept = site.add(&living, Records::Kept, 8080);
    let lost = site.add(&gone, Records::Kept, 8081);
    std::fs::remove_file(site.node.outside("/var/lib/cni/networks/net").join(&lost)).unwrap();
    // Its interface is there: whatever happened to the address file, the rules are in use.
    assert!(site.leaks().1.is_empty());
    gone.destroy();
    site.until_no_pair_but(1);
    let expected = ["rules inet podlink_hostport", "rules inet podlink_masq"];
    assert_eq!(site.leaks().1, expected);
    assert_eq!(site.gc(), expected);
    assert_eq!(site.rules_with(&lost), [""; 0]);
    assert!(!site.rules_with(&kept).is_empty());
}

#[test]
fn a_pod_of_the_reference_goes_with_its_iptables_rules() {
    let site = Site::of("10.219.17.0/24", BinDir::reference());
    let (living, gone) = (site.node.pod("living"), site.node.pod("gone"));
    let kept = site.add(&living, Records::Kept, 8080);
    let lost = site.add(&gone, Records::Kept, 8081);
    gone.destroy();
    site.until_no_pair_but(1);
    site.age_all();
    assert_eq!(site.verdict(&kept).0, "alive");
    assert_eq!(site.gc(), [format!("address {lost}"), "rules iptables nat".into(), "rules iptables nat".into()]);
    assert_eq!(site.rules_with(&lost), [""; 0]);
    assert!(!site.rules_with(&kept).is_empty(), "the other pod's rules are there");
    assert_eq!(site.leaks(), (0, vec![], vec![]));
}

#[test]
fn a_device_that_shapes_for_nobody_goes() {
    let site = Site::new("10.219.18.0/24");
    let pod = site.node.pod("a");
    let address = site.add(&pod, Records::Kept, 8080);
    let (_, shown) = site.json(&["ipam", "show", &address]);
    let living = format!("podlink:net/{}/eth0", shown[0]["containerID"].as_str().unwrap());
    for (name, alias) in
        [("ifb-living", living.as_str()), ("ifb-gone", "podlink:net/c-gone/eth0"), ("ifb-foreign", "mine")]
    {
        site.node.sh(&["ip", "link", "add", name, "type", "ifb"]);
        site.node.sh(&["ip", "link", "set", name, "alias", alias]);
    }
    assert_eq!(site.gc(), ["interface ifb-gone"]);
    let left = site.node.link_names();
    assert!(["ifb-living", "ifb-foreign"].iter().all(|name| left.iter().any(|one| one == name)), "{left:?}");
}

#[test]
fn a_pair_whose_other_end_nobody_can_reach_goes_with_its_path() {
    let site = Site::new("10.219.14.0/24");
    let pod = site.node.pod("a");
    // The ends are told by their indices, and pods of other tests' nodes have the same ones: the kernel gives each once.
    for _ in 0..3 {
        pod.sh(&["ip", "link", "add", "d0", "type", "bridge"]);
        pod.sh(&["ip", "link", "del", "d0"]);
    }
    let address = site.add(&pod, Records::Kept, 8080);
    site.age(&address);
    // The namespace is held open by this process alone: no path, no process in it.
    unmount(&site);
    site.node.sh(&["rm", "/run/netns/a"]);
    let (verdict, evidence) = site.verdict(&address);
    assert_eq!(verdict, "dead", "{evidence}");
    assert!(evidence.contains("has the other end of veth"), "{evidence}");
    let removed = site.gc();
    assert!(removed.iter().any(|one| one.starts_with("interface veth")), "{removed:?}");
    assert_eq!(site.leaks(), (0, vec![], vec![]));
    assert!(site.node.reserved("net").is_empty() && pod.link("eth0").is_none());
}

#[test]
fn the_same_without_a_record_is_listed_and_left() {
    let site = Site::new("10.219.15.0/24");
    let pod = site.node.pod("a");
    for _ in 0..5 {
        pod.sh(&["ip", "link", "add", "d0", "type", "bridge"]);
        pod.sh(&["ip", "link", "del", "d0"]);
    }
    let address = site.add(&pod, Records::Lost, 8080);
    site.age(&address);
    unmount(&site);
    let (verdict, evidence) = site.verdict(&address);
    assert!(verdict == "unknown" && evidence.contains("on the node is there"), "{verdict}: {evidence}");
    let before = site.state();
    assert!(site.gc().is_empty());
    assert_eq!(site.state(), before);
    assert!(pod.link("eth0").is_some());
}

#[test]
fn addresses_of_an_earlier_boot_are_dead() {
    let site = Site::new("10.219.16.0/24");
    let pod = site.node.pod("a");
    let address = site.add(&pod, Records::Lost, 8080);
    let file = site.node.outside("/var/lib/cni/networks/net").join(&address);
    let copy = site.node.outside("/var/lib/cni/networks/net/10.219.16.77");
    let (from, to) = (file.to_str().unwrap(), copy.to_str().unwrap());
    site.node.sh(&["cp", from, to]);
    // Another holder, reserved before this boot by this node.
    podlink_tests::files::write(&copy, "c-old\r\neth0");
    let mark = read_mark(&file);
    let earlier = format!("00000000-0000-0000-0000-000000000000{}", &mark[36..]);
    set_mark(&copy, &earlier);
    let (_, shown) = site.json(&["ipam", "show", "10.219.16.77"]);
    assert_eq!(shown[0]["boot"], Value::from("earlier"));
    assert_eq!(site.gc(), ["address 10.219.16.77"]);
    assert_eq!(site.node.reserved("net"), [address]);
}

const MARK: &std::ffi::CStr = c"user.podlink.boot";

fn c_path(path: &std::path::Path) -> std::ffi::CString {
    std::ffi::CString::new(path.to_str().unwrap()).unwrap()
}

fn read_mark(path: &std::path::Path) -> String {
    let mut buffer = [0u8; 64];
    // SAFETY: both names end with a zero byte, and the kernel writes at most as much as the buffer holds.
    let length =
        unsafe { nix::libc::getxattr(c_path(path).as_ptr(), MARK.as_ptr(), buffer.as_mut_ptr().cast(), buffer.len()) };
    assert!(length > 36, "no mark on {}: {length}", path.display());
    String::from_utf8(buffer[..length as usize].to_vec()).unwrap()
}

fn set_mark(path: &std::path::Path, mark: &str) {
    // SAFETY: both names end with a zero byte, and the kernel reads as much as it is told of a string that long.
    let done =
        unsafe { nix::libc::setxattr(c_path(path).as_ptr(), MARK.as_ptr(), mark.as_ptr().cast(), mark.len(), 0) };
    assert_eq!(done, 0, "cannot mark {}", path.display());
}

/// Lazily: another test's podlink may be reading the namespace by this path, which keeps the mount busy.
fn unmount(site: &Site) {
    site.node.sh(&["umount", "-l", "/run/netns/a"]);
}
