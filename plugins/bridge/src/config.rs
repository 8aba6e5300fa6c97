//! What the user may say in a bridge network's config.

mod vlan;

use cni::{Dns, Error, ErrorCode, NetworkCall};
use netlink::MacAddr;
use serde::Deserialize;

pub use vlan::Vlans;

/// The bridge that is used when the config names none.
const DEFAULT_BRIDGE: &str = "cni0";
/// What the kernel takes for a veth (`ETH_MIN_MTU`, `ETH_MAX_MTU`).
const MTU: std::ops::RangeInclusive<u32> = 68..=65535;

/// A bridge network's config, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// `bridge`: the bridge's name.
    pub bridge: String,
    /// `isGateway`, or implied by `isDefaultGateway`: the bridge has the gateway's address and forwards.
    pub is_gateway: bool,
    /// `isDefaultGateway`: the pod's default route goes to the gateway.
    pub is_default_gateway: bool,
    /// `forceAddress`: replace a conflicting address of the bridge.
    pub force_address: bool,
    /// `mtu` of both ends and of a bridge made here, in bytes; `None` leaves it to the kernel.
    pub mtu: Option<u32>,
    /// `hairpinMode`: a pod can reach itself through the bridge.
    pub hairpin: bool,
    /// `promiscMode` of the bridge.
    pub promiscuous: bool,
    /// `vlan` or `vlanTrunk`, with `preserveDefaultVlan`.
    pub vlans: Option<Vlans>,
    /// `enabledad`: check that nobody else has an IPv6 address before it is used.
    pub detect_duplicates: bool,
    /// `disableContainerInterface`: leave the pod's end switched off.
    pub disable_container_interface: bool,
    /// `portIsolation`: pods on the bridge do not see each other.
    pub isolated: bool,
    /// The MAC asked for through `CNI_ARGS`, `args.cni.mac` or `runtimeConfig.mac`; the last one wins.
    pub mac: Option<MacAddr>,
    /// `ipMasq`: pods leave the node under its own address.
    pub masquerade: bool,
    /// `ipMasqBackend`; `None` leaves the choice to us.
    pub masquerade_backend: Option<masquerade::Backend>,
    /// `macspoofchk`: the pod sends under its own MAC only.
    pub mac_spoof_check: bool,
    /// `ipam.type`; `None` for a layer 2 network.
    pub ipam: Option<String>,
    /// `dns`: replaces what the IPAM plugin says.
    pub dns: Dns,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Keys {
    bridge: String,
    is_gateway: bool,
    is_default_gateway: bool,
    force_address: bool,
    ip_masq: bool,
    ip_masq_backend: Option<masquerade::Backend>,
    mtu: u32,
    hairpin_mode: bool,
    promisc_mode: bool,
    vlan: u32,
    vlan_trunk: Option<Vec<vlan::TrunkItem>>,
    preserve_default_vlan: bool,
    #[serde(rename = "macspoofchk")]
    mac_spoof_check: bool,
    #[serde(rename = "enabledad")]
    enable_dad: bool,
    disable_container_interface: bool,
    port_isolation: bool,
    args: Args,
    runtime_config: MacKey,
    dns: Dns,
}

impl Default for Keys {
    fn default() -> Keys {
        Keys {
            bridge: String::new(),
            is_gateway: false,
            is_default_gateway: false,
            force_address: false,
            ip_masq: false,
            ip_masq_backend: None,
            mtu: 0,
            hairpin_mode: false,
            promisc_mode: false,
            vlan: 0,
            vlan_trunk: None,
            preserve_default_vlan: true,
            mac_spoof_check: false,
            enable_dad: false,
            disable_container_interface: false,
            port_isolation: false,
            args: Args::default(),
            runtime_config: MacKey::default(),
            dns: Dns::default(),
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Args {
    cni: MacKey,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct MacKey {
    mac: String,
}

impl Config {
    /// Reads the config of a call and checks what can be checked without looking at the node.
    ///
    /// # Errors
    /// Code 7; the message names the key. Code 4 for `CNI_ARGS`.
    pub fn read(call: &NetworkCall) -> Result<Config, Error> {
        let keys: Keys = call.config.read()?;
        let invalid =
            |msg: String| Error::new(ErrorCode::INVALID_CONFIG, format!("network {:?}: {msg}", call.config.name));
        if keys.hairpin_mode && keys.promisc_mode {
            return Err(invalid("cannot set hairpin mode and promiscuous mode at the same time".to_owned())
                .with_details("hairpinMode and promiscMode are two ways to let a pod reach itself; choose one"));
        }
        let ipam = call.config.ipam_type()?;
        if keys.disable_container_interface && ipam.is_some() {
            let msg = "cannot use IPAM when DisableContainerInterface flag is set".to_owned();
            return Err(invalid(msg).with_details(
                "an interface that stays off can use no address; drop ipam, or disableContainerInterface",
            ));
        }
        let mtu = Some(keys.mtu).filter(|mtu| *mtu != 0);
        if let Some(mtu) = mtu.filter(|mtu| !MTU.contains(mtu)) {
            return Err(invalid(format!("mtu: {mtu} is out of range, expected {} to {}", MTU.start(), MTU.end())));
        }
        let bridge = if keys.bridge.is_empty() { DEFAULT_BRIDGE.to_owned() } else { keys.bridge };
        cni::validate::interface_name(&bridge)
            .map_err(|rule| invalid(format!("bridge: the name {bridge:?} {rule}")))?;
        let is_gateway = keys.is_gateway || keys.is_default_gateway;
        let vlans = Vlans::read(keys.vlan, keys.vlan_trunk.as_deref(), keys.preserve_default_vlan).map_err(invalid)?;
        if let Some(name) = vlans.as_ref().and_then(|vlans| vlans.gateway_name(&bridge)).filter(|_| is_gateway) {
            let too_long = |rule| invalid(format!("bridge: with vlan and isGateway, its interface {name:?} {rule}"));
            cni::validate::interface_name(&name).map_err(too_long)?;
        }
        call.args.reject_unknown()?;
        let mac = pod::requested_mac(&[
            ("runtimeConfig.mac", Some(keys.runtime_config.mac.as_str())),
            ("args.cni.mac", Some(keys.args.cni.mac.as_str())),
            ("CNI_ARGS MAC", call.args.get("MAC")),
        ]);
        Ok(Config {
            bridge,
            is_gateway,
            is_default_gateway: keys.is_default_gateway,
            force_address: keys.force_address,
            mtu,
            hairpin: keys.hairpin_mode,
            promiscuous: keys.promisc_mode,
            vlans,
            detect_duplicates: keys.enable_dad,
            disable_container_interface: keys.disable_container_interface,
            isolated: keys.port_isolation,
            mac: mac.map_err(invalid)?,
            masquerade: keys.ip_masq,
            masquerade_backend: keys.ip_masq_backend,
            mac_spoof_check: keys.mac_spoof_check,
            ipam,
            dns: keys.dns,
        })
    }
}

/// The bridge's name as well as a config tells it that may have become invalid since the ADD.
pub fn bridge_name(call: &NetworkCall) -> String {
    #[derive(Deserialize)]
    struct Only {
        bridge: String,
    }
    let name = call.config.read::<Only>().map(|only| only.bridge).unwrap_or_default();
    if name.is_empty() { DEFAULT_BRIDGE.to_owned() } else { name }
}

#[cfg(test)]
mod tests;
