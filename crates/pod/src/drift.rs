//! What CHECK of several plugins compares: an interface with what ADD's result recorded of it, a switch with its value.

use std::fmt::Display;

use cni::{AttachmentCall, CniResult, Error, ErrorCode, Interface};
use netlink::{Link, Sysctl};

use crate::errors::{Explain, drift};

/// The `prevResult` that CHECK compares with.
///
/// # Errors
/// Code 7 where there is none.
pub fn prev_result(call: &AttachmentCall) -> Result<CniResult, Error> {
    let network = &call.network.config;
    network.prev_result()?.ok_or_else(|| {
        Error::new(ErrorCode::INVALID_CONFIG, "Required prevResult missing").with_details(format!(
            "network {:?}: CHECK compares with the result of ADD, which the runtime passes",
            network.name
        ))
    })
}

/// What `result` has recorded of the interface `name` in `sandbox` (empty: on the node).
///
/// # Errors
/// Code 7 where it lists no such interface.
pub fn recorded<'a>(result: &'a CniResult, name: &str, sandbox: &str) -> Result<&'a Interface, Error> {
    result.interfaces.iter().find(|interface| interface.name == name && interface.sandbox == sandbox).ok_or_else(|| {
        let place = if sandbox.is_empty() { "on the node".to_owned() } else { format!("in sandbox {sandbox:?}") };
        let listed: Vec<_> =
            result.interfaces.iter().map(|known| format!("{} ({:?})", known.name, known.sandbox)).collect();
        Error::new(ErrorCode::INVALID_CONFIG, format!("prevResult lists no interface {name:?} {place}"))
            .with_details(format!("it lists {}", listed.join(", ")))
    })
}

/// That `link` is one end of a veth pair and has the MAC that was recorded.
///
/// # Errors
/// The difference; `what` names the interface.
pub fn expect_veth(link: Option<Link>, recorded: &Interface, what: impl Display) -> Result<Link, Error> {
    match link {
        Some(link) if link.is_veth() => expect_mac(what, &link, recorded).map(|()| link),
        Some(link) => Err(drift(what, "one end of a veth pair", format_args!("a {} interface", link.kind))),
        None => Err(drift(what, "one end of a veth pair", "no interface of that name")),
    }
}

/// That `link` has the MAC that was recorded, if one was.
///
/// # Errors
/// The difference; `what` names the interface.
pub fn expect_mac(what: impl Display, link: &Link, recorded: &Interface) -> Result<(), Error> {
    let found = link.mac.map(|mac| mac.to_string()).unwrap_or_default();
    if recorded.mac.is_empty() || recorded.mac.eq_ignore_ascii_case(&found) {
        return Ok(());
    }
    Err(drift(what, format_args!("MAC {}", recorded.mac), found))
}

/// That a switch is as expected. Where the kernel has none, it has no such family, and nothing to go wrong.
///
/// # Errors
/// The difference.
pub fn expect_sysctl(setting: &Sysctl, expected: &str) -> Result<(), Error> {
    match setting.read().explain("sysctl")? {
        Some(found) if found != expected => Err(drift(setting.path().display(), expected, found)),
        _ => Ok(()),
    }
}
