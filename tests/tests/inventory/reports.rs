//! What people, programs and Prometheus are told.

use serde_json::json;

use crate::site::{Records, Site};

#[test]
fn ls_free_and_metrics_agree() {
    let site = Site::new("10.219.21.0/28");
    let (a, b) = (site.node.pod("a"), site.node.pod("b"));
    site.add(&a, Records::Kept, 8080);
    site.add(&b, Records::Kept, 8081);
    b.destroy();
    site.until_no_pair_but(1);
    site.age_all();

    let (code, report) = site.json(&["ipam", "ls"]);
    assert_eq!(code, 0);
    let of = &report[0]["ranges"][0];
    assert_eq!((&report[0]["network"], &of["range"]), (&json!("net"), &json!("10.219.21.1-10.219.21.14")));
    let counts = ["capacity", "used", "free", "alive", "dead", "unknown"].map(|key| of[key].as_u64().unwrap());
    assert_eq!(counts, [13, 2, 11, 1, 1, 0]);

    let table = site.podlink(&["ipam", "ls", "--network", "net"]).success();
    assert!(table.starts_with("NETWORK") && table.contains("[###.................]  15%"), "{table}");
    let unknown = site.podlink(&["ipam", "ls", "--network", "nte"]);
    assert!(unknown.code == Some(1) && unknown.stderr.contains("found are net"), "{unknown}");

    let free = site.podlink(&["ipam", "free", "net"]).success();
    assert_eq!(
        free,
        "11 of 13 free in 10.219.21.1-10.219.21.14: 10.219.21.4 10.219.21.5 10.219.21.6 10.219.21.7 10.219.21.8 ...\n"
    );

    let metrics = site.podlink(&["metrics"]).success();
    for line in [
        "# TYPE podlink_ipam_addresses gauge",
        r#"podlink_ipam_addresses{network="net",range="10.219.21.1-10.219.21.14",state="used"} 1"#,
        r#"podlink_ipam_addresses{network="net",range="10.219.21.1-10.219.21.14",state="leaked"} 1"#,
        r#"podlink_ipam_addresses{network="net",range="10.219.21.1-10.219.21.14",state="unknown"} 0"#,
        r#"podlink_ipam_addresses{network="net",range="10.219.21.1-10.219.21.14",state="free"} 11"#,
        r#"podlink_ipam_capacity{network="net",range="10.219.21.1-10.219.21.14"} 13"#,
        "podlink_links_leaked 0",
        "podlink_scrape_errors 0",
    ] {
        assert!(metrics.lines().any(|one| one == line), "{line} is not in:\n{metrics}");
    }
    assert!(!metrics.contains("podlink_rules_leaked 0\n"), "{metrics}");

    let file = site.node.dir().join("podlink.prom");
    site.podlink(&["metrics", "--output", file.to_str().unwrap()]).success();
    assert!(std::fs::read_to_string(&file).unwrap().starts_with("# HELP podlink_ipam_addresses"));
}

#[test]
fn show_finds_by_network_address_and_container() {
    let site = Site::new("10.219.22.0/24");
    let pods = [site.node.pod("a"), site.node.pod("b")];
    let addresses = pods
        .each_ref()
        .map(|pod| site.add(pod, Records::Kept, if pod.id().netns.ends_with("a") { 8080 } else { 8081 }));
    let (_, all) = site.json(&["ipam", "show", "net"]);
    assert_eq!(all.as_array().unwrap().len(), 2);
    let (code, one) = site.json(&["ipam", "show", &addresses[1]]);
    assert_eq!((code, one.as_array().unwrap().len(), &one[0]["boot"]), (0, 1, &json!("this")));
    let container = one[0]["containerID"].as_str().unwrap();
    let (_, by_container) = site.json(&["ipam", "show", container]);
    assert_eq!(by_container[0]["address"], one[0]["address"]);
    assert_eq!(site.json(&["ipam", "show", "nobody"]), (1, json!([])));
    let table = site.podlink(&["ipam", "show", container]).success();
    assert!(table.contains("NETWORK  ADDRESS") && table.contains(&format!("{container}/eth0")), "{table}");
}

#[test]
fn what_cannot_be_read_is_told_and_counted() {
    let site = Site::new("10.219.23.0/24");
    let pod = site.node.pod("a");
    site.add(&pod, Records::Kept, 8080);
    podlink_tests::files::write(&site.node.dir().join("conf/20-broken.conflist"), "{");
    let listed = site.podlink(&["ipam", "ls"]);
    assert!(listed.code == Some(0) && listed.stderr.contains("20-broken.conflist"), "{listed}");
    let metrics = site.podlink(&["metrics"]).success();
    assert!(metrics.contains("podlink_scrape_errors 1\n"), "{metrics}");
    // A network without a config is found by its addresses.
    std::fs::remove_file(site.node.dir().join("conf/10-net.conflist")).unwrap();
    std::fs::remove_file(site.node.dir().join("conf/20-broken.conflist")).unwrap();
    std::fs::remove_dir_all(site.node.outside("/var/lib/cni/results")).unwrap();
    let table = site.podlink(&["ipam", "ls"]).success();
    assert!(table.contains("net      (in no range)  1"), "{table}");
    assert_eq!(site.leaks(), (0, vec![], vec![]));
}

#[test]
fn mistakes_on_the_command_line_are_usage_errors() {
    let site = Site::new("10.219.24.0/24");
    for line in [
        &["ipam"][..],
        &["ipam", "list"],
        &["ipam", "free"],
        &["ipam", "release", "net"],
        &["ipam", "ls", "--force"],
        &["ipam", "show", "--network", "net"],
        &["gc", "--dryrun"],
        &["leaks", "now"],
        &["metrics", "--json"],
    ] {
        assert_eq!(site.podlink(line).code, Some(2), "{line:?}");
    }
    for command in ["ipam", "leaks", "gc", "metrics"] {
        assert!(site.podlink(&[command, "--help"]).success().starts_with(&format!("podlink {command}: ")));
    }
}
