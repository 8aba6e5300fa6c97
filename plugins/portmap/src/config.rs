//! What the user, and the runtime through the `portMappings` capability, may say.

use std::net::IpAddr;

use cni::{Error, ErrorCode, NetworkCall};
use serde::Deserialize;

use crate::conditions::Conditions;
use crate::mapping::{PortMapping, Protocol};

/// The bit of the packet mark that the reference masquerades by. Kubernetes has 14 and 15, Calico 20 to 31.
const DEFAULT_MARK_BIT: u32 = 13;
/// What iptables takes for the name of a chain, less the closing zero.
const MAX_CHAIN_NAME: usize = 28;

/// Where the rules are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// Our own table in nf_tables.
    Native,
    /// The reference's chains, through `iptables-restore`.
    Iptables,
}

/// How the iptables backend has a packet masqueraded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SetMark {
    /// `markMasqBit`: by a bit of the mark, with chains of our own.
    Bit(u32),
    /// `externalSetMarkChain`: by a jump to somebody else's chain.
    Chain(String),
}

/// A portmap config, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `backend`, or the one that the other keys need; `None`: the best that the node has.
    pub backend: Option<Backend>,
    /// `snat`: masquerade connections that could not work otherwise (to itself, from 127.0.0.1).
    pub snat: bool,
    /// `masqAll`: masquerade every connection.
    pub masq_all: bool,
    /// `markMasqBit` or `externalSetMarkChain`; only the iptables backend needs a mark.
    pub set_mark: SetMark,
    /// `conditionsV4` for the iptables backend, as its words.
    pub conditions_v4: Vec<String>,
    /// `conditionsV6` for the iptables backend.
    pub conditions_v6: Vec<String>,
    /// `conditionsV4` and `conditionsV6` for the native backend.
    pub conditions: [Option<Conditions>; 2],
    /// `runtimeConfig.portMappings`.
    pub ports: Vec<PortMapping>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Keys {
    backend: String,
    snat: bool,
    masq_all: bool,
    mark_masq_bit: Option<i64>,
    external_set_mark_chain: Option<String>,
    conditions_v4: Vec<String>,
    conditions_v6: Vec<String>,
    runtime_config: RuntimeConfig,
}

impl Default for Keys {
    fn default() -> Keys {
        Keys {
            backend: String::new(),
            snat: true,
            masq_all: false,
            mark_masq_bit: None,
            external_set_mark_chain: None,
            conditions_v4: Vec::new(),
            conditions_v6: Vec::new(),
            runtime_config: RuntimeConfig::default(),
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RuntimeConfig {
    port_mappings: Vec<Port>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Port {
    host_port: i64,
    container_port: i64,
    protocol: String,
    #[serde(rename = "hostIP")]
    host_ip: String,
}

impl Config {
    /// Reads the config of a call and checks what can be checked without looking at the node.
    ///
    /// # Errors
    /// Code 7, or code 2 for conditions that no backend of ours can keep; the message names the key.
    pub fn read(call: &NetworkCall) -> Result<Config, Error> {
        let keys: Keys = call.config.read()?;
        let name = &call.config.name;
        let invalid = |msg: String| Error::new(ErrorCode::INVALID_CONFIG, format!("network {name:?}: {msg}"));
        let set_mark = set_mark(&keys).map_err(invalid)?;
        let backend = match keys.backend.as_str() {
            "" => None,
            "nftables" => Some(Backend::Native),
            "iptables" => Some(Backend::Iptables),
            other => return Err(invalid(format!("backend: {other:?} is unknown, expected nftables or iptables"))),
        };
        let backend = backend_of(&keys, backend).map_err(invalid)?;
        let mut conditions = [None, None];
        for (place, (key, words)) in conditions.iter_mut().zip(keys.conditions()) {
            *place = read_conditions(key, words).map_err(|e| e.context(format_args!("network {name:?}")))?;
        }
        // What is read already is not for iptables.
        let [v4, v6] = &conditions;
        let of_iptables =
            |words: Vec<String>, read: &Option<Conditions>| if read.is_some() { Vec::new() } else { words };
        let ports = ports(&keys.runtime_config.port_mappings).map_err(invalid)?;
        Ok(Config {
            backend,
            snat: keys.snat,
            masq_all: keys.masq_all,
            set_mark,
            conditions_v4: of_iptables(keys.conditions_v4, v4),
            conditions_v6: of_iptables(keys.conditions_v6, v6),
            conditions,
            ports,
        })
    }
}

impl Keys {
    fn conditions(&self) -> [(&'static str, &Vec<String>); 2] {
        [("conditionsV4", &self.conditions_v4), ("conditionsV6", &self.conditions_v6)]
    }
}

/// The backend that the other keys need, if they need one; `asked` is what the config says.
fn backend_of(keys: &Keys, asked: Option<Backend>) -> Result<Option<Backend>, String> {
    let mut needs: Vec<(&str, Backend)> = Vec::new();
    for (key, words) in keys.conditions() {
        let backend = if is_of_iptables(words) { Backend::Iptables } else { Backend::Native };
        needs.extend(words.first().map(|_| (key, backend)));
    }
    needs.extend(keys.external_set_mark_chain.as_ref().map(|_| ("externalSetMarkChain", Backend::Iptables)));
    needs.splice(..0, asked.map(|asked| ("backend", asked)));
    let name = |backend| if backend == Backend::Native { "nftables" } else { "iptables" };
    match needs.as_slice() {
        [(first, one), rest @ ..] => match rest.iter().find(|(_, other)| other != one) {
            Some((key, other)) => {
                Err(format!("{key} is of the {} backend, but {first} of the {} backend", name(*other), name(*one)))
            }
            None => Ok(Some(*one)),
        },
        [] => Ok(None),
    }
}

fn set_mark(keys: &Keys) -> Result<SetMark, String> {
    match (&keys.external_set_mark_chain, keys.mark_masq_bit) {
        (Some(_), Some(_)) => Err("cannot specify externalSetMarkChain and markMasqBit; keep one of them".to_owned()),
        (Some(chain), None) => {
            let good = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\'' | b'\\');
            if chain.is_empty() || chain.len() > MAX_CHAIN_NAME || !chain.bytes().all(good) || chain.starts_with('-') {
                return Err(format!("externalSetMarkChain: {chain:?} is no name of an iptables chain"));
            }
            Ok(SetMark::Chain(chain.clone()))
        }
        (None, None) => Ok(SetMark::Bit(DEFAULT_MARK_BIT)),
        (None, Some(bit)) => match u32::try_from(bit) {
            Ok(bit @ 0..=31) => Ok(SetMark::Bit(bit)),
            _ => Err(format!("markMasqBit: {bit} is out of range, expected 0 to 31")),
        },
    }
}

/// The reference tells iptables' conditions from nft's by how they begin; so does this.
fn is_of_iptables(words: &[String]) -> bool {
    words.first().is_some_and(|first| first.starts_with(['-', '!']))
}

/// nft's conditions are read; iptables reads its own.
fn read_conditions(key: &str, words: &[String]) -> Result<Option<Conditions>, Error> {
    if words.is_empty() {
        return Ok(None);
    }
    if !is_of_iptables(words) {
        let read = Conditions::read(words, key == "conditionsV4").map(Some);
        return read.map_err(|why| {
            Error::new(ErrorCode::UNSUPPORTED_FIELD, format!("{key}: {:?}: {why}", words.join(" "))).with_details(
                "iptables' own conditions begin with '-' or '!', such as [\"!\", \"-d\", \"192.0.2.0/24\"]",
            )
        });
    }
    if let Some(word) = words.iter().find(|word| word.is_empty() || word.chars().any(char::is_control)) {
        let msg = format!("{key}: {word:?} is empty or has a control character in it");
        return Err(Error::new(ErrorCode::INVALID_CONFIG, msg));
    }
    Ok(None)
}

fn ports(list: &[Port]) -> Result<Vec<PortMapping>, String> {
    let mut ports: Vec<PortMapping> = Vec::with_capacity(list.len());
    for (index, port) in list.iter().enumerate() {
        let key = format!("runtimeConfig.portMappings[{index}]");
        let number = |name: &str, number: i64| match u16::try_from(number) {
            Ok(number) if number != 0 => Ok(number),
            _ => Err(format!("{key}.{name}: {number} is no port, expected 1 to 65535")),
        };
        let mapping = PortMapping {
            protocol: Protocol::parse(&port.protocol)
                .ok_or_else(|| format!("{key}.protocol: {:?} is unknown, expected tcp, udp or sctp", port.protocol))?,
            host_port: number("hostPort", port.host_port)?,
            container_port: number("containerPort", port.container_port)?,
            host_ip: host_ip(&port.host_ip).map_err(|why| format!("{key}.hostIP: {why}"))?,
            index,
        };
        if let Some(other) = ports.iter().find(|other| other.overlaps(&mapping)) {
            return Err(format!(
                "{key}: host port {mapping} is asked for twice, by portMappings[{}] too ({other})",
                other.index
            ));
        }
        ports.push(mapping);
    }
    Ok(ports)
}

fn host_ip(text: &str) -> Result<Option<IpAddr>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let address: IpAddr = text.parse().map_err(|_| format!("{text:?} is no IP address"))?;
    let address = address.to_canonical();
    if address.is_multicast() {
        return Err(format!("{text} is a multicast address; no host has it"));
    }
    Ok(Some(address))
}

/// The mappings a DEL was given, as far as they make sense. DEL must work with a config that has become invalid.
pub fn mappings_if_valid(call: &NetworkCall) -> Vec<PortMapping> {
    Config::read(call).map(|config| config.ports).unwrap_or_default()
}

#[cfg(test)]
mod tests;
