//! `route_localnet`: without it the kernel drops the answers to a connection from 127.0.0.1 that was translated.
//!
//! What else it would let in is dropped by the guard of the backend, which must be there first.

use cni::Error;
use netlink::{Setting, Sysctl};
use pod::{Explain, drift};

const KEY: &str = "route_localnet";

/// Switches it on for the interface to a pod. It stays on: other pods use it, too.
///
/// # Errors
/// The system's.
pub fn open(interface: &str) -> Result<(), Error> {
    let doing = format!("interface {interface}");
    match Sysctl::ipv4(interface, KEY).and_then(|setting| setting.set("1")).explain(&doing)? {
        Setting::Missing => Err(drift(doing, "an interface with IPv4", "none")),
        _ => Ok(()),
    }
}

/// Finds it switched off.
///
/// # Errors
/// That it is.
pub fn check(interface: &str) -> Result<(), Error> {
    let setting = Sysctl::ipv4(interface, KEY).explain(interface)?;
    match setting.read().explain(interface)?.as_deref() {
        Some("1") => Ok(()),
        found => Err(drift(setting.path().display(), "1", found.unwrap_or("nothing"))),
    }
}
