//! resolv.conf(5), with the source of the plugin's reader: a plugin offers no more than its verbs.
#![no_main]

#[path = "../../plugins/host-local/src/resolv_conf.rs"]
#[allow(dead_code)]
mod resolv_conf;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let dir = tempfile::tempdir_in("/dev/shm").expect("a directory in memory");
    let file = dir.path().join("resolv.conf");
    std::fs::write(&file, bytes).expect("a file in memory");
    let dns = resolv_conf::read(&file).expect("any bytes are a resolv.conf");
    assert!(dns.nameservers.len() <= 3);
});
