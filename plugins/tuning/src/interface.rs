//! The pod's interface: its settings read, set, compared, put back.

use cni::{Attachment, CniResult, Error, ErrorCode};
use netlink::{Link, LinkChange, MacAddr};
use pod::{Explain, Pod, drift};

use crate::backup::Backup;
use crate::config::Config;

/// The interface; it may be missing where only sysctls are asked for.
///
/// # Errors
/// When it is needed and missing.
pub fn find(pod: &Pod, attachment: &Attachment, config: &Config) -> Result<Option<Link>, Error> {
    let link = pod.link(&attachment.ifname)?;
    if link.is_none() && config.is_for_interface() {
        let msg = format!("{attachment}: the pod has no interface {}", attachment.ifname);
        return Err(Error::new(ErrorCode::INTERNAL, msg).with_details("the plugins before tuning must make it"));
    }
    Ok(link)
}

/// What `config` will change, as it is now.
pub fn backup(link: Option<&Link>, config: &Config) -> Backup {
    let Some(link) = link else { return Backup::default() };
    Backup {
        mac: config.mac.and(link.mac).map(|mac| mac.to_string()).unwrap_or_default(),
        promisc: config.promiscuous.then_some(link.promiscuous),
        mtu: config.mtu.map_or(0, |_| link.mtu),
        allmulti: config.all_multicast.map(|_| link.all_multicast),
        tx_queue_len: config.tx_queue_len.map(|_| link.tx_queue_len),
        podlink: None,
    }
}

/// Sets what `config` asks for, in one request.
///
/// # Errors
/// The kernel's.
pub fn set(pod: &Pod, attachment: &Attachment, config: &Config) -> Result<(), Error> {
    if !config.is_for_interface() {
        return Ok(());
    }
    let change = LinkChange {
        mac: config.mac,
        mtu: config.mtu,
        promiscuous: config.promiscuous.then_some(true),
        all_multicast: config.all_multicast,
        tx_queue_len: config.tx_queue_len,
        ..LinkChange::default()
    };
    let changed = pod.netlink().change_link(&attachment.ifname, &change);
    changed.explain(format_args!("tuning interface {} in the pod", attachment.ifname))
}

/// Tells the plugins that follow, and the runtime, what has changed.
pub fn describe(result: &mut CniResult, attachment: &Attachment, config: &Config) {
    let in_pod = result.interfaces.iter_mut().filter(|interface| !interface.sandbox.is_empty());
    for interface in in_pod.filter(|interface| interface.name == attachment.ifname) {
        if let Some(mac) = config.mac {
            interface.mac = mac.to_string();
        }
        if config.mtu.is_some() {
            interface.mtu = config.mtu;
        }
    }
}

/// Finds a setting that has changed.
///
/// # Errors
/// What was expected and what was found.
pub fn verify(pod: &Pod, attachment: &Attachment, config: &Config) -> Result<(), Error> {
    let what = format!("interface {} in the pod", attachment.ifname);
    let Some(link) = pod.link(&attachment.ifname)? else { return Err(drift(what, "an interface", "none")) };
    let on = |on: bool| if on { "on" } else { "off" };
    let mac = |mac: Option<MacAddr>| mac.map_or_else(|| "none".to_owned(), |mac| mac.to_string());
    if config.mac.is_some() && config.mac != link.mac {
        return Err(drift(what, format_args!("MAC {}", mac(config.mac)), mac(link.mac)));
    }
    if let Some(mtu) = config.mtu.filter(|mtu| *mtu != link.mtu) {
        return Err(drift(what, format_args!("mtu {mtu}"), link.mtu));
    }
    // Others may have a reason to listen on it; only what the config asks for is ours to miss.
    if config.promiscuous && !link.promiscuous {
        return Err(drift(what, "promiscuous mode on", "off"));
    }
    if let Some(wanted) = config.all_multicast.filter(|wanted| *wanted != link.all_multicast) {
        return Err(drift(what, format_args!("allmulti {}", on(wanted)), on(link.all_multicast)));
    }
    match config.tx_queue_len.filter(|packets| *packets != link.tx_queue_len) {
        Some(packets) => Err(drift(what, format_args!("txqueuelen {packets}"), link.tx_queue_len)),
        None => Ok(()),
    }
}

/// Puts back what `backup` holds, each setting by itself: one that the kernel refuses does not keep the others from
/// it. Returns what failed; an interface that is gone needs nothing.
pub fn restore(pod: &Pod, attachment: &Attachment, backup: &Backup) -> Vec<String> {
    let none = LinkChange::default;
    let mut changes = Vec::new();
    // What the reference wrote is a MAC; what cannot be read is not put back.
    changes.extend(backup.mac.parse().ok().map(|mac| LinkChange { mac: Some(mac), ..none() }));
    changes.extend((backup.mtu != 0).then(|| LinkChange { mtu: Some(backup.mtu), ..none() }));
    changes.extend(backup.promisc.map(|on| LinkChange { promiscuous: Some(on), ..none() }));
    changes.extend(backup.allmulti.map(|on| LinkChange { all_multicast: Some(on), ..none() }));
    changes.extend(backup.tx_queue_len.map(|packets| LinkChange { tx_queue_len: Some(packets), ..none() }));
    let failed = |change: &LinkChange| match pod.netlink().change_link(&attachment.ifname, change) {
        Err(e) if !e.is_not_found() => Some(e.to_string()),
        _ => None,
    };
    changes.iter().filter_map(failed).collect()
}
