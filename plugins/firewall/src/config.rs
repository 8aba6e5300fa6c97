//! What the user may say in a firewall config.

use cni::{Error, ErrorCode, NetworkCall};
use serde::Deserialize;

/// The reference's chain for rules of the node's administrator.
const DEFAULT_ADMIN_CHAIN: &str = "CNI-ADMIN";
/// firewalld's zone that accepts everything.
const DEFAULT_ZONE: &str = "trusted";
/// `XT_EXTENSION_MAXNAMELEN` less the closing zero: what iptables takes as the name of a chain.
const MAX_CHAIN: usize = 28;

/// A firewall config, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `backend`; `None` leaves the choice to the state of the node.
    pub backend: Option<Backend>,
    /// `iptablesAdminChainName`: the iptables chain that is asked before the pods' rules.
    pub admin_chain: String,
    /// `firewalldZone`: where firewalld is told to put the pods' addresses.
    pub zone: String,
    /// `ingressPolicy`: who may reach the pods.
    pub policy: Policy,
}

/// `backend`: through what the pods' traffic is let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// The reference's chains.
    Iptables,
    /// A table of our own.
    Nftables,
    /// Over D-Bus.
    Firewalld,
}

/// `ingressPolicy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Everybody may.
    Open,
    /// Pods of other bridges may not, if those have a policy too.
    SameBridge,
    /// Nor may those of the same bridge.
    Isolated,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Keys {
    backend: String,
    iptables_admin_chain_name: String,
    firewalld_zone: String,
    ingress_policy: String,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            backend: None,
            admin_chain: DEFAULT_ADMIN_CHAIN.to_owned(),
            zone: DEFAULT_ZONE.to_owned(),
            policy: Policy::Open,
        }
    }
}

impl Config {
    /// Reads the config of a call.
    ///
    /// # Errors
    /// Code 7; the message names the key.
    pub fn read(call: &NetworkCall) -> Result<Config, Error> {
        let keys: Keys = call.config.read()?;
        let invalid =
            |msg: String| Error::new(ErrorCode::INVALID_CONFIG, format!("network {:?}: {msg}", call.config.name));
        let backend = match keys.backend.as_str() {
            "" => None,
            "iptables" => Some(Backend::Iptables),
            "nftables" => Some(Backend::Nftables),
            "firewalld" => Some(Backend::Firewalld),
            other => {
                return Err(invalid(format!(
                    "backend: {other:?} is unknown; expected \"iptables\", \"nftables\" or \"firewalld\", or no such key"
                )));
            }
        };
        let policy = match keys.ingress_policy.as_str() {
            "" | "open" => Policy::Open,
            "same-bridge" => Policy::SameBridge,
            "isolated" => Policy::Isolated,
            other => {
                return Err(invalid(format!(
                    "ingressPolicy: {other:?} is unknown; expected \"open\", \"same-bridge\" or \"isolated\""
                )));
            }
        };
        let default = Config::default();
        let admin_chain = Some(keys.iptables_admin_chain_name).filter(|name| !name.is_empty());
        if let Some(name) = &admin_chain {
            chain_name(name).map_err(|rule| invalid(format!("iptablesAdminChainName: {name:?} {rule}")))?;
        }
        let zone = Some(keys.firewalld_zone).filter(|zone| !zone.is_empty());
        Ok(Config {
            backend,
            admin_chain: admin_chain.unwrap_or(default.admin_chain),
            zone: zone.unwrap_or(default.zone),
            policy,
        })
    }
}

/// What iptables would refuse, or take for something else in a script.
fn chain_name(name: &str) -> Result<(), String> {
    let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '\'' | '\\');
    if name.len() > MAX_CHAIN {
        Err(format!("is longer than the {MAX_CHAIN} characters of an iptables chain"))
    } else if !name.chars().all(plain) || name.starts_with(['-', '!', ':', '*', '#']) {
        Err("cannot be the name of an iptables chain".to_owned())
    } else if matches!(name, "INPUT" | "FORWARD" | "OUTPUT" | "ACCEPT" | "DROP" | "RETURN" | "QUEUE" | "CNI-FORWARD") {
        Err("has a meaning of its own; choose another name".to_owned())
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
