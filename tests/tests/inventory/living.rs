//! What is alive, or may be, stays.

use podlink_tests::BinDir;
use serde_json::json;

use crate::site::{Records, Site};

#[test]
fn a_living_pod_is_alive_and_nothing_of_it_is_removed() {
    for records in [Records::Kept, Records::Lost] {
        let site = Site::new("10.219.1.0/24");
        let pod = site.node.pod("a");
        let address = site.add(&pod, records, 8080);
        let (verdict, evidence) = site.verdict(&address);
        assert_eq!(verdict, "alive");
        assert!(evidence.contains("eth0 in /run/netns/a has the address"), "{evidence}");
        assert!(evidence.contains("on the node leads to eth0 in "), "{evidence}");
        let before = site.state();
        assert_eq!(site.leaks(), (0, vec![], vec![]));
        assert!(site.gc().is_empty());
        assert_eq!(site.state(), before);
    }
}

#[test]
fn release_by_hand_refuses_a_living_pod_by_name() {
    let site = Site::new("10.219.2.0/24");
    let pod = site.node.pod("a");
    let address = site.add(&pod, Records::Kept, 8080);
    let before = site.state();
    let refused = site.podlink(&["ipam", "release", "net", &address]);
    assert_eq!(refused.code, Some(1));
    assert!(
        refused.stdout.contains("eth0 in /run/netns/a has the address") && refused.stdout.contains("--force"),
        "{refused}"
    );
    let absent = site.podlink(&["ipam", "release", "net", "nobody/eth0"]);
    assert!(absent.code == Some(1) && absent.stderr.contains("no address of nobody/eth0"), "{absent}");
    let elsewhere = site.podlink(&["ipam", "release", "nte", &address]);
    assert!(
        elsewhere.code == Some(1) && elsewhere.stderr.contains(r#"no network "nte": found are net"#),
        "{elsewhere}"
    );
    assert_eq!(site.state(), before);
    site.podlink(&["ipam", "release", "net", &address, "--force"]).success();
    assert!(site.node.reserved("net").is_empty());
    site.runtime("del", &pod, Records::Kept, 8080).success();
}

#[test]
fn an_add_that_was_killed_is_left_to_its_del_as_long_as_the_pod_is_there() {
    let site = Site::new("10.219.3.0/24");
    let config = json!({
        "cniVersion": "1.1.0", "name": "net", "type": "bridge", "bridge": "inv0", "isGateway": true, "ipMasq": true,
        "ipam": { "type": "host-local", "ranges": [[{ "subnet": "10.219.3.0/24" }]] },
    });
    let mut kept_a_pair = false;
    for nth in 1.. {
        let pod = site.node.pod("a");
        let call = site.node.plugin(&BinDir::ours(), "bridge").config(&config).pod(&pod);
        let was_killed = call.killed_at("ADD", "sendto,linkat,rename,setns", nth);
        let before = site.state();
        assert_eq!(site.gc(), [""; 0], "kill {nth}");
        assert_eq!(site.state(), before, "kill {nth}");
        kept_a_pair |= was_killed && site.node.link_names().iter().any(|name| name.starts_with("veth"));
        pod.destroy();
        site.until_no_pair_but(0);
        assert!(site.gc().is_empty(), "kill {nth}: too young to be called a leak");
        // Now nobody is there to finish it.
        site.age_all();
        let leaked = site.leaks().1;
        assert_eq!(site.gc(), leaked, "kill {nth}");
        assert!(site.node.reserved("net").is_empty(), "kill {nth}");
        assert_eq!(site.rules_with("podlink:net/pod-a"), [""; 0], "kill {nth}");
        assert_eq!(site.leaks(), (0, vec![], vec![]), "kill {nth}");
        if !was_killed {
            break;
        }
    }
    assert!(kept_a_pair, "some of the kills came in the middle");
}

#[test]
fn a_pod_of_the_reference_is_alive_however_old_and_unrecorded() {
    let site = Site::of("10.219.4.0/24", BinDir::reference());
    let pod = site.node.pod("a");
    let address = site.add(&pod, Records::Lost, 8080);
    site.age(&address);
    std::fs::create_dir_all(site.node.outside("/var/lib/cni/results")).unwrap();
    assert_eq!(site.verdict(&address).0, "alive");
    let before = site.state();
    assert!(site.gc().is_empty());
    assert_eq!(site.state(), before);
}

#[test]
fn a_reservation_of_the_reference_is_left_alone_until_two_proofs_speak_against_it() {
    let site = Site::new("10.219.5.0/24");
    let config = json!({
        "cniVersion": "1.0.0", "name": "net", "type": "ptp",
        "ipam": { "type": "host-local", "ranges": [[{ "subnet": "10.219.5.0/24" }]] },
    });
    let pod = site.node.pod("a");
    // What an ADD of a plugin that reserves first looks like from outside.
    site.node.plugin(&BinDir::reference(), "host-local").config(&config).pod(&pod).add().success();
    let address = site.node.reserved("net").remove(0).split('/').next_back().unwrap().to_owned();
    std::fs::create_dir_all(site.node.outside("/var/lib/cni/results")).unwrap();
    let (verdict, evidence) = site.verdict(&address);
    assert!(verdict == "unknown" && evidence.contains("its ADD may still be running"), "{verdict}: {evidence}");
    assert!(site.leaks().0 == 0 && site.gc().is_empty(), "too young to be called a leak");

    site.age(&address);
    std::fs::remove_dir(site.node.outside("/var/lib/cni/results")).unwrap();
    // No runtime that keeps records: that no namespace has the address is all that is known.
    assert_eq!(site.leaks(), (1, vec![], vec![format!("address {address}")]));
    assert!(site.gc().is_empty());
    assert_eq!(site.node.reserved("net").len(), 1);

    let records = site.node.outside("/var/lib/cni/results");
    std::fs::create_dir_all(&records).unwrap();
    // Records of other networks: this one's may be elsewhere.
    assert_eq!(site.leaks(), (1, vec![], vec![format!("address {address}")]));
    let other = json!({ "kind": "cniCacheV1", "containerId": "other", "ifName": "eth0", "networkName": "net", "config": "e30=" });
    std::fs::write(records.join("net-other-eth0"), other.to_string()).unwrap();
    assert_eq!(site.leaks(), (1, vec![format!("address {address}")], vec![]));
    assert_eq!(site.gc(), [format!("address {address}")]);
    assert!(site.node.reserved("net").is_empty());
}

#[test]
fn a_file_that_somebody_put_there_stays() {
    let site = Site::new("10.219.6.0/24");
    let pod = site.node.pod("a");
    site.add(&pod, Records::Kept, 8080);
    let file = site.node.outside("/var/lib/cni/networks/net/10.219.6.99");
    podlink_tests::files::write(&file, "the printer on the second floor");
    site.age("10.219.6.99");
    let (verdict, evidence) = site.verdict("10.219.6.99");
    assert!(verdict == "unknown" && evidence.contains("no CNI plugin wrote the file"), "{verdict}: {evidence}");
    assert!(site.gc().is_empty() && file.exists());
    assert_eq!(site.podlink(&["ipam", "release", "net", "10.219.6.99"]).code, Some(1));
}
