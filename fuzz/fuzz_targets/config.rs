//! A network configuration, as each plugin reads it.
#![no_main]

use cni::{NetworkCall, Plugin};
use libfuzzer_sys::fuzz_target;

static PLUGINS: [&(dyn Plugin + Sync); 7] = [
    &bandwidth::Bandwidth,
    &bridge::Bridge,
    &firewall::Firewall,
    &host_local::HostLocal,
    &loopback::Loopback,
    &portmap::Portmap,
    &tuning::Tuning,
];

fuzz_target!(|bytes: &[u8]| {
    let Ok(call) = NetworkCall::to_examine(bytes.to_vec()) else { return };
    for plugin in PLUGINS {
        // Whether it is right does not matter, only that it is answered.
        let _ = plugin.read_config(&call);
    }
    for key in call.unknown_keys() {
        let _ = format!("{key:?}");
    }
});
