//! What the user may say in a tuning config.

mod pairs;

use std::path::PathBuf;

use cni::{Error, ErrorCode, NetworkCall};
use netlink::MacAddr;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::config::pairs::Pairs;
use crate::key;

/// Where backups are kept where the config names no place. It does not outlive a boot, like what it describes.
const DEFAULT_DATA_DIR: &str = "/run/cni/tuning";

/// A tuning config, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `sysctl`, in the config's order; then those of `args.cni.sysctl` that are not in it.
    pub sysctls: Vec<SysctlSetting>,
    /// The MAC from `mac`, `CNI_ARGS`, `runtimeConfig.mac` or `args.cni.mac`; the last one wins.
    pub mac: Option<MacAddr>,
    /// `mtu` in bytes.
    pub mtu: Option<u32>,
    /// `promisc`: promiscuous mode on.
    pub promiscuous: bool,
    /// `allmulti`: all multicast frames, on or off.
    pub all_multicast: Option<bool>,
    /// `txQLen`: how many packets may wait.
    pub tx_queue_len: Option<u32>,
    /// `dataDir`.
    pub data_dir: PathBuf,
}

/// One sysctl to set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SysctlSetting {
    /// As the config spells it.
    pub key: String,
    /// Below /proc/sys/net.
    pub path: String,
    /// What to write.
    pub value: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Keys {
    data_dir: String,
    sysctl: Pairs<String>,
    mac: String,
    mtu: u32,
    promisc: bool,
    allmulti: Option<bool>,
    #[serde(rename = "txQLen")]
    tx_queue_len: Option<u32>,
    runtime_config: RuntimeConfig,
    args: Args,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RuntimeConfig {
    mac: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Args {
    cni: ArgsKeys,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ArgsKeys {
    sysctl: Pairs<String>,
    mac: String,
    mtu: Option<u32>,
    promisc: Option<bool>,
    allmulti: Option<bool>,
    #[serde(rename = "txQLen")]
    tx_queue_len: Option<u32>,
}

impl Config {
    /// Reads the config of a call about the interface `ifname`.
    ///
    /// # Errors
    /// Code 7; the message names the key. Code 4 for `CNI_ARGS`.
    pub fn read(call: &NetworkCall, ifname: &str) -> Result<Config, Error> {
        let keys: Keys = call.config.read()?;
        let args = keys.args.cni;
        let invalid =
            |msg: String| Error::new(ErrorCode::INVALID_CONFIG, format!("network {:?}: {msg}", call.config.name));
        reject_duplicates(call.config.bytes()).map_err(invalid)?;
        let mut sysctls = settings("sysctl", keys.sysctl, ifname).map_err(invalid)?;
        for asked in settings("args.cni.sysctl", args.sysctl, ifname).map_err(invalid)? {
            match sysctls.iter_mut().find(|setting| setting.path == asked.path) {
                Some(setting) => *setting = asked,
                None => sysctls.push(asked),
            }
        }
        call.args.reject_unknown()?;
        let mac = pod::requested_mac(&[
            ("args.cni.mac", Some(args.mac.as_str())),
            ("runtimeConfig.mac", Some(keys.runtime_config.mac.as_str())),
            ("CNI_ARGS MAC", call.args.get("MAC")),
            ("mac", Some(keys.mac.as_str())),
        ]);
        Ok(Config {
            sysctls,
            mac: mac.map_err(invalid)?,
            mtu: Some(args.mtu.unwrap_or(keys.mtu)).filter(|mtu| *mtu != 0),
            promiscuous: args.promisc.unwrap_or(keys.promisc),
            all_multicast: args.allmulti.or(keys.allmulti),
            tx_queue_len: args.tx_queue_len.or(keys.tx_queue_len),
            data_dir: or_default(keys.data_dir),
        })
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.sysctls.is_empty() && !self.is_for_interface()
    }

    /// Whether the interface itself is to be changed.
    pub fn is_for_interface(&self) -> bool {
        self.mac.is_some()
            || self.mtu.is_some()
            || self.promiscuous
            || self.all_multicast.is_some()
            || self.tx_queue_len.is_some()
    }
}

fn or_default(data_dir: String) -> PathBuf {
    if data_dir.is_empty() { PathBuf::from(DEFAULT_DATA_DIR) } else { PathBuf::from(data_dir) }
}

/// The one key that DEL and GC need. They must work with a config that has become invalid since the ADD.
///
/// # Errors
/// Code 7 when `dataDir` is no text.
pub fn data_dir(call: &NetworkCall) -> Result<PathBuf, Error> {
    #[derive(Deserialize)]
    struct Only {
        #[serde(rename = "dataDir", default)]
        data_dir: String,
    }
    call.config.read::<Only>().map(|only| or_default(only.data_dir))
}

fn settings(place: &str, pairs: Pairs<String>, ifname: &str) -> Result<Vec<SysctlSetting>, String> {
    let mut settings: Vec<SysctlSetting> = Vec::new();
    for (key, value) in pairs.0 {
        let path =
            key::path(&key, ifname).map_err(|rule| format!("{place}: invalid net sysctl key {key:?}: {rule}"))?;
        if let Some(twin) = settings.iter().find(|setting| setting.path == path) {
            return Err(format!("{place}: {:?} and {key:?} are the same sysctl; keep one of them", twin.key));
        }
        settings.push(SysctlSetting { key, path, value });
    }
    Ok(settings)
}

/// Of a key that is there twice, parsed JSON has only the last; which one was meant, nobody can tell.
fn reject_duplicates(config: &[u8]) -> Result<(), String> {
    #[derive(Deserialize)]
    struct Only {
        sysctl: Option<Pairs<IgnoredAny>>,
    }
    let Ok(Only { sysctl: Some(Pairs(pairs)) }) = serde_json::from_slice(config) else { return Ok(()) };
    let twice = pairs.iter().enumerate().find(|(at, (key, _))| pairs[..*at].iter().any(|(before, _)| before == key));
    match twice {
        Some((_, (key, _))) => Err(format!("sysctl: {key:?} is there twice; duplicated sysctl keys are not allowed")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
