//! The pods: all that was found of each attachment, put together.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::path::Path;

use cni::Attachment;
use inventory::{Error, HostPort, Interface, Judgement, Limit, OwnedRules, Sign, Survey, Verdict};

use super::{Pod, strings};

/// Where `ip netns` and the container runtimes mount namespaces.
const NAMESPACE_DIRS: [&str; 2] = ["/run/netns", "/var/run/netns"];

/// Network, container ID, interface; and what tells those apart that have none of these.
type Key = (String, String, String, String);

/// Everything that was found of one.
#[derive(Default)]
struct Found<'a> {
    judgements: Vec<&'a Judgement>,
    reserved: Vec<IpAddr>,
    link: Option<&'a Interface>,
    host_ports: BTreeSet<&'a HostPort>,
    rules: BTreeSet<&'a str>,
    limits: Vec<String>,
}

/// All attachments.
pub(super) struct Attachments<'a> {
    found: BTreeMap<Key, Found<'a>>,
    links: HashSet<&'a str>,
}

impl<'a> Attachments<'a> {
    /// Puts together what was found.
    pub fn of(survey: &'a Survey, interfaces: &'a [Interface]) -> Attachments<'a> {
        let mut all = Attachments { found: BTreeMap::new(), links: HashSet::new() };
        let by_name: HashMap<_, _> = interfaces.iter().map(|one| (one.name.as_str(), one)).collect();
        let mut holders = HashMap::new();
        for (network, held) in survey.addresses() {
            let (container_id, ifname) = held.holder();
            let address = held.reservation.address;
            let itself = if container_id.is_empty() { address.to_string() } else { String::new() };
            let key = (network.name.clone(), container_id.to_owned(), ifname.to_owned(), itself);
            let found = all.found.entry(key.clone()).or_default();
            found.judgements.push(&held.judgement);
            found.reserved.push(address);
            holders.insert(address, key);
        }
        for (link, judgement) in &survey.links {
            let found = all.found.entry(key(&link.owner.network, &link.owner.attachment)).or_default();
            found.judgements.push(judgement);
            let Some(interface) = by_name.get(link.name.as_str()) else { continue };
            // What goes out by the node's end comes in at the pod's; what the pod sends is led through an ifb.
            let does = if link.kind == "veth" { "receives" } else { "sends" };
            found.limits.extend(interface.limit.map(|limit| limited(does, limit)));
            if link.kind == "veth" {
                found.link = Some(interface);
                all.links.insert(&interface.name);
            }
        }
        for interface in interfaces.iter().filter(|one| one.owner.is_none()) {
            all.add_foreign(interface, &holders);
        }
        for (rules, judgement) in &survey.rules {
            all.add_rules(rules, judgement);
        }
        all
    }

    /// A pair that no alias tells the owner of: the reference's, or another program's. Whoever has reserved an address of
    /// it, has it; other pairs count only on a bridge, since the node itself may hang on one.
    fn add_foreign(&mut self, interface: &'a Interface, holders: &HashMap<IpAddr, Key>) {
        let Some(peer) = &interface.peer else { return };
        let holder = peer.addresses.iter().find_map(|address| holders.get(&address.ip()));
        let key = match holder {
            Some(key) => key.clone(),
            None if interface.master.is_some() => {
                (String::new(), String::new(), peer.carrier.ifname.clone(), interface.name.clone())
            }
            None => return,
        };
        let found = self.found.entry(key).or_default();
        if found.link.is_none() {
            found.link = Some(interface);
            self.links.insert(&interface.name);
        }
    }

    fn add_rules(&mut self, rules: &'a OwnedRules, judgement: &'a Judgement) {
        let (network, attachment) = (&rules.owner.network, &rules.owner.attachment);
        let mut keys = vec![key(network, attachment)];
        if attachment.ifname.is_empty() {
            let of_container = self
                .found
                .keys()
                .filter(|(of, container_id, ..)| of == network && *container_id == attachment.container_id);
            let of_container: Vec<_> = of_container.cloned().collect();
            if !of_container.is_empty() {
                keys = of_container;
            }
        }
        for key in keys {
            let found = self.found.entry(key).or_default();
            found.judgements.push(judgement);
            found.host_ports.extend(&rules.host_ports);
            found.rules.extend(effect(rules));
        }
    }

    /// Leaves out what is of other networks.
    pub fn only(&mut self, survey: &Survey, network: &str) -> Result<(), Error> {
        let configured = survey.networks.iter().map(|(of, _)| of.name.as_str());
        let seen = self.found.keys().map(|(of, ..)| of.as_str()).filter(|of| !of.is_empty());
        let known: BTreeSet<_> = configured.chain(seen).collect();
        if !known.contains(network) {
            let known = known.into_iter().map(str::to_owned).collect();
            return Err(Error::NoNetwork { network: network.to_owned(), known });
        }
        self.found.retain(|(of, ..), _| of == network);
        Ok(())
    }

    /// Whether an interface of the node leads to a pod, be it one that is left out.
    pub fn has_link(&self, name: &str) -> bool {
        self.links.contains(name)
    }

    /// The pods, each with the bridge that it is on; by network, then address.
    pub fn pods(self, survey: &Survey) -> Vec<(Pod, Option<&'a String>)> {
        let mut pods: Vec<_> = self
            .found
            .into_iter()
            .map(|(key, found)| {
                let first = found.link.and_then(|link| Some(link.peer.as_ref()?.addresses.first()?.ip()));
                let first = first.or(found.reserved.iter().min().copied());
                let master = found.link.and_then(|link| link.master.as_ref());
                ((key.0.clone(), first), (pod(survey, key, found), master))
            })
            .collect();
        // Stable: those without an address stay in the order of their keys.
        pods.sort_by(|(a, _), (b, _)| a.cmp(b));
        pods.into_iter().map(|(_, pod)| pod).collect()
    }
}

fn key(network: &str, attachment: &Attachment) -> Key {
    (network.to_owned(), attachment.container_id.clone(), attachment.ifname.clone(), String::new())
}

/// What rules do to their pod, but host ports, which speak for themselves.
fn effect(rules: &OwnedRules) -> Option<&str> {
    let (_, table) = rules.place.split_once(' ').unwrap_or_default();
    match (rules.plugin, table) {
        ("portmap", _) => None,
        ("firewall", _) if rules.place.starts_with("bridge ") => Some("isolated from isolated pods"),
        ("firewall", _) => Some("firewall"),
        (_, "podlink_masq" | "nat") => Some("masquerade"),
        (_, "podlink_spoof") => Some("spoof check"),
        _ => Some(&rules.place),
    }
}

fn limited(does: &str, limit: Limit) -> String {
    match limit {
        Limit::All(bits) => format!("{does} at most {}", bit_rate(bits)),
        Limit::Some => format!("{does} at limited rates from or to some subnets"),
    }
}

/// In the largest unit that needs no more than three decimals.
fn bit_rate(bits: u64) -> String {
    let (unit, name) = match bits {
        1_000_000_000.. => (1e9, "Gbit/s"),
        1_000_000.. => (1e6, "Mbit/s"),
        1_000.. => (1e3, "kbit/s"),
        _ => (1.0, "bit/s"),
    };
    #[expect(clippy::cast_precision_loss, reason = "three decimals are shown")]
    let shown = format!("{:.3}", bits as f64 / unit);
    format!("{} {name}", shown.trim_end_matches('0').trim_end_matches('.'))
}

fn pod(survey: &Survey, key: Key, found: Found<'_>) -> Pod {
    let (network, container_id, ifname, _) = key;
    let mut limits = found.limits;
    limits.sort();
    let attachment = Attachment { container_id, ifname };
    let peer = found.link.and_then(|link| link.peer.as_ref());
    let mut addresses = peer.map(|peer| strings(&peer.addresses)).unwrap_or_default();
    let is_carried = |address: &&IpAddr| peer.is_some_and(|peer| peer.addresses.iter().any(|at| at.ip() == **address));
    let mut reserved: Vec<_> = found.reserved.iter().filter(|address| !is_carried(address)).collect();
    reserved.sort();
    addresses.extend(reserved.into_iter().map(ToString::to_string));
    let verdicts = [Verdict::Alive, Verdict::Unknown, Verdict::Dead];
    // Of what is said of its parts, what says more comes first: one of its addresses, as a rule.
    let of = |verdict| {
        let said = found.judgements.iter().filter(|judgement| judgement.verdict == verdict);
        said.rev().max_by_key(|judgement| judgement.evidence().len())
    };
    let judgement = verdicts.into_iter().find_map(of);
    let namespace = peer.map(|peer| peer.carrier.namespace.as_path()).or_else(|| recorded(&found.judgements));
    Pod {
        name: survey.pod_name(&network, &attachment),
        network,
        link: found.link.map(|link| link.name.clone()),
        namespace: namespace.map(shown),
        addresses,
        host_ports: found.host_ports.iter().map(ToString::to_string).collect(),
        rules: found.rules.iter().map(ToString::to_string).collect(),
        limits,
        verdict: judgement.map(|judgement| judgement.verdict),
        why: judgement.map(|judgement| judgement.evidence().join("; ")).unwrap_or_default(),
        ifname: match peer {
            Some(peer) if attachment.ifname.is_empty() => peer.carrier.ifname.clone(),
            _ => attachment.ifname,
        },
        container_id: attachment.container_id,
    }
}

/// A namespace that has one of its addresses, or that the runtime remembers.
fn recorded<'a>(judgements: &[&'a Judgement]) -> Option<&'a Path> {
    let signs = || judgements.iter().flat_map(|judgement| &judgement.signs);
    let carried = signs().find_map(|sign| match sign {
        Sign::Carried(carrier) => Some(carrier.namespace.as_path()),
        _ => None,
    });
    carried.or_else(|| {
        signs().find_map(|sign| match sign {
            Sign::NamespaceThere { path } => Some(path.as_path()),
            _ => None,
        })
    })
}

/// The name of a namespace, or its path where it is in none of the usual places.
fn shown(path: &Path) -> String {
    let name = NAMESPACE_DIRS.iter().find_map(|dir| path.strip_prefix(dir).ok());
    name.unwrap_or(path).display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_shown_in_the_unit_that_people_wrote() {
        let shown = [20_000_000, 1_500_000, 1_000_000_000, 64_000, 800].map(bit_rate);
        assert_eq!(shown, ["20 Mbit/s", "1.5 Mbit/s", "1 Gbit/s", "64 kbit/s", "800 bit/s"]);
    }
}
