//! Settings of another namespace.

use netlink::{Setting, Sysctl};

use crate::harness::{pair, wired};

#[test]
fn a_setting_is_the_namespaces_own_and_written_once() {
    let pair = pair();
    wired(&pair);
    let arp_notify = || Sysctl::ipv4("eth0", "arp_notify").unwrap();
    let forward = || Sysctl::net("ipv4/ip_forward").unwrap();
    // A new namespace may start with the machine's own settings.
    pair.node.run(|| forward().set("0").unwrap()).unwrap();
    pair.pod.run(|| (forward().set("0").unwrap(), arp_notify().set("0").unwrap())).unwrap();
    assert_eq!(pair.pod.run(|| arp_notify().read().unwrap()).unwrap().as_deref(), Some("0"));
    assert_eq!(pair.pod.run(|| arp_notify().set("1").unwrap()).unwrap(), Setting::Written);
    assert_eq!(pair.pod.run(|| arp_notify().set("1").unwrap()).unwrap(), Setting::AlreadySet);
    assert_eq!(pair.pod.run(|| arp_notify().read().unwrap()).unwrap().as_deref(), Some("1"));
    // The node has no eth0.
    assert_eq!(pair.node.run(|| arp_notify().set("1").unwrap()).unwrap(), Setting::Missing);

    assert_eq!(pair.pod.run(|| forward().set("1").unwrap()).unwrap(), Setting::Written);
    assert_eq!(pair.node.run(|| forward().read().unwrap()).unwrap().as_deref(), Some("0"));

    let error = pair.pod.run(|| forward().set("nonsense").unwrap_err()).unwrap().to_string();
    assert!(error.contains("/proc/sys/net/ipv4/ip_forward to \"nonsense\""), "{error}");
}
