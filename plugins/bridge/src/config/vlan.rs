//! `vlan`, `vlanTrunk` and `preserveDefaultVlan`: which VLANs the pod's bridge port is in.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use netlink::PortVlan;
use serde::Deserialize;

/// IDs a frame can carry: 0 means "none" and 4095 is reserved (IEEE 802.1Q).
const IDS: RangeInclusive<u32> = 1..=4094;

/// One of `vlanTrunk`: a range, a single ID, or both.
#[derive(Debug, Deserialize)]
pub(super) struct TrunkItem {
    #[serde(rename = "minID")]
    min: Option<u32>,
    #[serde(rename = "maxID")]
    max: Option<u32>,
    id: Option<u32>,
}

/// The VLANs of a bridge port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vlans {
    membership: Membership,
    /// `preserveDefaultVlan`: the port stays in the bridge's default VLAN, too.
    pub preserve_default: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Membership {
    /// `vlan`: untagged towards the pod.
    Access(u16),
    /// `vlanTrunk`: tagged towards the pod, in ascending order.
    Trunk(Vec<u16>),
}

impl Vlans {
    /// Checks the keys; `None` if the config has no VLANs.
    pub(super) fn read(
        vlan: u32,
        trunk: Option<&[TrunkItem]>,
        preserve_default: bool,
    ) -> Result<Option<Vlans>, String> {
        let trunk = trunk.map(collect).transpose()?.filter(|ids| !ids.is_empty());
        let membership = match (vlan, trunk) {
            (0, None) => return Ok(None),
            (0, Some(ids)) => Membership::Trunk(ids),
            (_, Some(_)) => return Err("cannot set vlan and vlanTrunk at the same time".to_owned()),
            (id, None) => Membership::Access(
                check(id)
                    .map_err(|_| format!("invalid VLAN ID {id}: vlan must be between 0 (none) and {}", IDS.end()))?,
            ),
        };
        Ok(Some(Vlans { membership, preserve_default }))
    }

    /// What the port's VLAN table must have.
    pub fn of_port(&self) -> Vec<PortVlan> {
        match &self.membership {
            Membership::Access(vid) => vec![PortVlan { vid: *vid, pvid: true, untagged: true }],
            Membership::Trunk(ids) => {
                ids.iter().map(|vid| PortVlan { vid: *vid, pvid: false, untagged: false }).collect()
            }
        }
    }

    /// The interface that has the gateway's address in the pod's VLAN; `None` for a trunk, whose gateway is the bridge.
    pub fn gateway_name(&self, bridge: &str) -> Option<String> {
        match self.membership {
            Membership::Access(vid) => Some(format!("{bridge}.{vid}")),
            Membership::Trunk(_) => None,
        }
    }
}

fn collect(items: &[TrunkItem]) -> Result<Vec<u16>, String> {
    let mut ids = BTreeSet::new();
    for item in items {
        match (item.min, item.max) {
            (Some(min), Some(max)) => {
                let min =
                    check(min).map_err(|_| format!("incorrect trunk minID parameter {min}, expected 1 to 4094"))?;
                let max =
                    check(max).map_err(|_| format!("incorrect trunk maxID parameter {max}, expected 1 to 4094"))?;
                if max < min {
                    return Err(format!("minID {min} is greater than maxID {max} in trunk parameter"));
                }
                ids.extend(min..=max);
            }
            (None, None) => {}
            (None, Some(_)) => {
                return Err("minID and maxID should be configured simultaneously, minID is missing".to_owned());
            }
            (Some(_), None) => {
                return Err("minID and maxID should be configured simultaneously, maxID is missing".to_owned());
            }
        }
        if let Some(id) = item.id {
            ids.insert(check(id).map_err(|_| format!("incorrect trunk id parameter {id}, expected 1 to 4094"))?);
        }
    }
    Ok(ids.into_iter().collect())
}

fn check(id: u32) -> Result<u16, ()> {
    if IDS.contains(&id) { u16::try_from(id).map_err(|_| ()) } else { Err(()) }
}
