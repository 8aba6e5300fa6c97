//! All readers of what the kernel sends, on any bytes: for the fuzz target alone, and in no other build.

use nix::libc;

use crate::{Filter, HtbClass, Link, Qdisc, Route, packet::Packet};
use crate::{PortVlan, Refusal, address, link, qdisc, route, vlan};

/// Reads `body` (what follows `nlmsghdr`) as a message of the type `kind` (`RTM_*`), and as an error and a dump's end.
pub fn read(kind: u16, body: &[u8]) -> usize {
    let packet = Packet { kind, body: body.to_vec() };
    let links = link::parse::link(&packet).iter().map(Link::is_bridge).count();
    let addresses = address::parse(&packet).iter().count();
    let routes: Vec<Route> = route::parse(&packet);
    let vlans: Vec<PortVlan> = vlan::parse(&packet);
    let qdiscs = Qdisc::parse(&packet).iter().count();
    let classes = HtbClass::parse(&packet).iter().count();
    let filters: Vec<Filter> = qdisc::filter::parse(&packet).into_iter().collect();
    let refusals = [Refusal::from_ack(&"x", kind, -libc::EINVAL, body), Refusal::from_done(&"x", -libc::EINVAL, body)];
    let texts = refusals.iter().map(|refusal| format!("{refusal:?}").len()).sum::<usize>();
    links + addresses + routes.len() + vlans.len() + qdiscs + classes + filters.len() + texts
}
