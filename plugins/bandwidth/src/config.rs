//! What the user may say in a bandwidth config.

use std::time::Duration;

use cni::{Cidr, Error, ErrorCode, NetworkCall};
use ipnetwork::IpNetwork;
use serde::Deserialize;

/// How long a packet may wait before it is dropped: the reference's value, where the config says none.
const DEFAULT_LATENCY: Duration = Duration::from_millis(25);
/// Above this a queue only hides the loss that senders slow down for.
const MAX_LATENCY_MS: u64 = 10_000;
/// Runtimes that know of no burst, but of the reference's demand for one, send the greatest number they have:
/// kubelet's 2³¹-1 and containerd's 2³²-1 bits. At 10 Mbit/s that would be minutes without any limit.
const NO_BURST: [u64; 2] = [i32::MAX as u64, u32::MAX as u64];

/// A bandwidth config, checked. Its keys count bits; this and the kernel count bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The limit for what the pod receives.
    pub ingress: Option<Limit>,
    /// The limit for what the pod sends.
    pub egress: Option<Limit>,
    /// Whose packets are limited.
    pub subnets: Subnets,
    /// `latency` (ours, milliseconds): how long a packet may wait for its turn.
    pub latency: Duration,
}

/// `…Rate` and `…Burst` of one direction.
///
/// The reference refuses a rate without a burst, so that everybody has to invent one, and most invent one that makes the
/// rate meaningless. Here the burst may be left out, and one is chosen that suits rate and MTU (shaper.rs).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Bytes per second, at least 1.
    pub rate: u64,
    /// Bytes; `None` where nobody chose one.
    pub burst: Option<u32>,
}

/// The far ends whose packets are limited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subnets {
    /// Everyone's.
    All,
    /// `shapedSubnets`: only these.
    Only(Vec<IpNetwork>),
    /// `unshapedSubnets`: all but these.
    AllBut(Vec<IpNetwork>),
}

/// The keys as they stand, in the config and in `runtimeConfig.bandwidth`.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Keys {
    ingress_rate: u64,
    ingress_burst: u64,
    egress_rate: u64,
    egress_burst: u64,
    unshaped_subnets: Vec<Cidr>,
    shaped_subnets: Vec<Cidr>,
    latency: Option<u64>,
}

impl Keys {
    fn has_limits(&self) -> bool {
        [self.ingress_rate, self.ingress_burst, self.egress_rate, self.egress_burst].iter().any(|value| *value != 0)
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RuntimeKeys {
    runtime_config: RuntimeConfig,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RuntimeConfig {
    bandwidth: Keys,
}

impl Config {
    /// Reads the config of a call. Rates that the runtime asks for count only where the config has none, as for the
    /// reference: what an operator has limited, an annotation of a pod must not open again. The same goes for subnets.
    ///
    /// # Errors
    /// Code 7; the message names the key.
    pub fn read(call: &NetworkCall) -> Result<Config, Error> {
        let own: Keys = call.config.read()?;
        let runtime = call.config.read::<RuntimeKeys>()?.runtime_config.bandwidth;
        let invalid =
            |msg: String| Error::new(ErrorCode::INVALID_CONFIG, format!("network {:?}: {msg}", call.config.name));

        let (place, keys) = if own.has_limits() { ("", &own) } else { ("runtimeConfig.bandwidth.", &runtime) };
        let ingress = limit(&format!("{place}ingress"), keys.ingress_rate, keys.ingress_burst).map_err(invalid)?;
        let egress = limit(&format!("{place}egress"), keys.egress_rate, keys.egress_burst).map_err(invalid)?;
        let latency = match own.latency.or(runtime.latency) {
            None => DEFAULT_LATENCY,
            Some(ms @ 1..=MAX_LATENCY_MS) => Duration::from_millis(ms),
            Some(ms) => {
                return Err(invalid(format!("latency: {ms} is out of range, expected 1 to {MAX_LATENCY_MS} ms")));
            }
        };
        let subnets = match subnets(&own).map_err(invalid)? {
            Subnets::All => subnets(&runtime).map_err(invalid)?,
            of_config => of_config,
        };
        Ok(Config { ingress, egress, subnets, latency })
    }

    /// Whether there is nothing to do.
    pub fn is_unlimited(&self) -> bool {
        self.ingress.is_none() && self.egress.is_none()
    }
}

/// `key` is the direction; rate and burst are in bits.
fn limit(key: &str, rate: u64, burst: u64) -> Result<Option<Limit>, String> {
    match (rate, burst) {
        (0, 0) => return Ok(None),
        (0, _) => return Err(format!("{key}Burst is {burst}, but {key}Rate is not set: set both, or neither")),
        (1..8, _) => {
            return Err(format!("{key}Rate: {rate} bit/s is less than one byte per second; it counts bits per second"));
        }
        _ => {}
    }
    let burst = match burst {
        0 => None,
        unknown if NO_BURST.contains(&unknown) => None,
        1..8 => return Err(format!("{key}Burst: {burst} bits is less than one byte; it counts bits")),
        bits => Some(
            u32::try_from(bits / 8)
                .map_err(|_| format!("{key}Burst: {burst} bits is too much, the kernel counts up to 4 GiB"))?,
        ),
    };
    Ok(Some(Limit { rate: rate / 8, burst }))
}

fn subnets(keys: &Keys) -> Result<Subnets, String> {
    let networks = |list: &[Cidr]| list.iter().map(|cidr| cidr.0).collect();
    match (&keys.unshaped_subnets[..], &keys.shaped_subnets[..]) {
        ([], []) => Ok(Subnets::All),
        (all_but, []) => Ok(Subnets::AllBut(networks(all_but))),
        ([], only) => Ok(Subnets::Only(networks(only))),
        _ => Err("unshapedSubnets and shapedSubnets exclude each other; keep one of them".to_owned()),
    }
}

#[cfg(test)]
mod tests;
