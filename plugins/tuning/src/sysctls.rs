//! The pod's sysctls: read, set, compared, put back.

use cni::{Error, ErrorCode};
use netlink::{Setting, Sysctl};
use pod::{Explain, Pod, drift};

use crate::backup::Saved;
use crate::config::SysctlSetting;

/// Reads what `settings` will change.
///
/// # Errors
/// When the pod has no such sysctl.
pub fn read(pod: &Pod, settings: &[SysctlSetting]) -> Result<Vec<Saved>, Error> {
    if settings.is_empty() {
        return Ok(Vec::new());
    }
    let read_all = || {
        let mut saved = Vec::new();
        for setting in settings {
            let found = Sysctl::net(&setting.path).explain(&setting.key)?.read();
            match found {
                // Recorded even where nothing will change: another attachment's DEL must see who needs the value.
                Ok(Some(before)) => {
                    saved.push(Saved { path: setting.path.clone(), before, after: setting.value.clone() });
                }
                Ok(None) => return Err(missing(setting)),
                // Some can only be written (net.ipv4.route.flush): there is nothing to put back.
                Err(_) => {}
            }
        }
        Ok(saved)
    };
    pod.namespace().run(read_all).explain("the pod's sysctls")?
}

/// Sets them.
///
/// # Errors
/// The kernel's, with key and value.
pub fn set(pod: &Pod, settings: &[SysctlSetting]) -> Result<(), Error> {
    if settings.is_empty() {
        return Ok(());
    }
    let set_all = || settings.iter().try_for_each(set_one);
    pod.namespace().run(set_all).explain("the pod's sysctls")?
}

fn set_one(setting: &SysctlSetting) -> Result<(), Error> {
    let sysctl = Sysctl::net(&setting.path).explain(&setting.key)?;
    // Setting one may have changed another (conf.all reaches every interface): only the present value counts.
    if sysctl.read().ok().flatten().is_some_and(|found| same(&found, &setting.value)) {
        return Ok(());
    }
    match sysctl.write(&setting.value).explain(format_args!("sysctl {} in the pod", setting.key))? {
        Setting::Missing => Err(missing(setting)),
        Setting::AlreadySet | Setting::Written => Ok(()),
    }
}

/// Finds one that has changed.
///
/// # Errors
/// What was expected and what was found.
pub fn verify(pod: &Pod, settings: &[SysctlSetting]) -> Result<(), Error> {
    if settings.is_empty() {
        return Ok(());
    }
    let verify_all = || {
        settings.iter().try_for_each(|setting| {
            let what = format!("sysctl {} in the pod", setting.key);
            match Sysctl::net(&setting.path).and_then(|sysctl| sysctl.read()) {
                Ok(Some(found)) if same(&found, &setting.value) => Ok(()),
                Ok(Some(found)) => Err(drift(what, format_args!("{:?}", setting.value), format_args!("{found:?}"))),
                Ok(None) => Err(drift(what, format_args!("{:?}", setting.value), "no such sysctl")),
                // One that can only be written.
                Err(_) => Ok(()),
            }
        })
    };
    pod.namespace().run(verify_all).explain("the pod's sysctls")?
}

/// Puts back those that are still as we set them, in reverse order, but not those in `shared`, which another of the
/// pod's attachments set as well. Returns what failed.
pub fn restore(pod: &Pod, saved: &[Saved], shared: &[String]) -> Vec<String> {
    let restore_one = |saved: &Saved| {
        let sysctl = Sysctl::net(&saved.path)?;
        match sysctl.read()? {
            Some(found) if same(&found, &saved.after) && !same(&found, &saved.before) => {
                sysctl.write(&saved.before).map(drop)
            }
            _ => Ok(()),
        }
    };
    let restore_all = || {
        let own = saved.iter().rev().filter(|saved| !shared.contains(&saved.path));
        own.filter_map(|saved| restore_one(saved).err()).map(|e: netlink::Error| e.to_string()).collect::<Vec<_>>()
    };
    if saved.is_empty() {
        return Vec::new();
    }
    pod.namespace().run(restore_all).unwrap_or_else(|e| vec![e.to_string()])
}

/// The kernel separates the values of a list by tabs, people by spaces.
fn same(one: &str, other: &str) -> bool {
    one.split_whitespace().eq(other.split_whitespace())
}

fn missing(setting: &SysctlSetting) -> Error {
    let msg = format!("sysctl {}: the pod has no /proc/sys/net/{}", setting.key, setting.path);
    Error::new(ErrorCode::INVALID_CONFIG, msg).with_details(
        "the kernel lacks the feature, or shares it among all pods; in the name of an interface with a dot, \
         write the key with slashes: net/ipv4/conf/eth0.100/arp_notify",
    )
}
