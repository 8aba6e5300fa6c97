//! The host's end of the pod's veth pair.

use cni::{AttachmentCall, CniResult, Error, ErrorCode};
use netlink::{Link, Netlink};
use pod::{Explain, Pod};

/// Finds it as the peer of the pod's interface, by what both ends say of each other.
///
/// # Errors
/// When the pod's interface is no veth, or its other end is not on this node, or is none that `result` lists.
pub fn find(host: &Netlink, pod: &Pod, call: &AttachmentCall, result: &CniResult) -> Result<Link, Error> {
    let ifname = &call.attachment.ifname;
    let no_pair = |why: String| {
        Error::new(ErrorCode::INTERNAL, format!("container interface {ifname} has no veth peer on the node: {why}"))
            .with_details("bandwidth limits pods whose interface is one end of a veth pair (bridge, ptp)")
    };
    let inside = pod.link(ifname)?.ok_or_else(|| no_pair("the pod has no such interface".to_owned()))?;
    let Some(peer) = inside.peer_index.filter(|_| inside.is_veth()) else {
        return Err(no_pair(format!("it is a {} interface", inside.kind)));
    };
    let end = host.link(peer).explain("the host's end of the pod's veth pair")?;
    // Another namespace's interface may have the same index; that one's peer would be in the pod by chance only.
    let is_peer = |link: &Link| link.is_veth() && link.peer_index == Some(inside.index) && link.peer_netnsid.is_some();
    let end = end.filter(is_peer).ok_or_else(|| no_pair(format!("interface #{peer} of the node is not its peer")))?;
    // Results before 0.3.0 list no interfaces.
    let mut listed = result.interfaces.iter().filter(|interface| interface.sandbox.is_empty());
    if !result.interfaces.is_empty() && !listed.any(|interface| interface.name == end.name) {
        return Err(no_pair(format!("prevResult does not list {}", end.name)));
    }
    Ok(end)
}
