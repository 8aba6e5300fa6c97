//! Gathering the facts. What cannot be found out (without root, say) stays unknown.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use iptables::Make;
use netlink::{Family, Netlink, Sysctl};
use nft::{Hook, Nft, Policy};

use super::{Facts, Interface, NodeRoute, probe};

impl Facts {
    /// Looks at the node whose namespaces this process is in, with plugins in `bin_dir`. Nothing of it is changed.
    pub fn gather(bin_dir: &Path) -> Facts {
        let host = Netlink::new().ok();
        let interfaces = host.as_ref().and_then(interfaces);
        Facts {
            routes: host.as_ref().zip(interfaces.as_ref()).and_then(|(host, found)| routes(host, found)),
            interfaces: interfaces.map(|found| found.into_iter().map(|(_, interface)| interface).collect()),
            programs: programs(bin_dir).map(|found| (bin_dir.to_owned(), found)),
            forwards_v4: is_on(Sysctl::net("ipv4/ip_forward")),
            forwards_v6: is_on(Sysctl::ipv6("all", "forwarding")),
            drops_forwarded: drops_forwarded(),
            missing: probe::missing(),
        }
    }
}

fn interfaces(host: &Netlink) -> Option<Vec<(u32, Interface)>> {
    let links = host.links().ok()?;
    let interface = |link: netlink::Link| {
        let addresses = host.addresses(link.index).unwrap_or_default().into_iter().map(|address| address.network);
        let (kind, is_bridge) = (link.kind.to_string(), link.is_bridge());
        (link.index, Interface { name: link.name, kind, is_bridge, addresses: addresses.collect() })
    };
    Some(links.into_iter().map(interface).collect())
}

fn routes(host: &Netlink, interfaces: &[(u32, Interface)]) -> Option<Vec<NodeRoute>> {
    const MAIN: u32 = 254;
    let name = |index: u32| interfaces.iter().find(|(found, _)| *found == index).map(|(_, link)| link.name.clone());
    let mut routes = Vec::new();
    for family in [Family::V4, Family::V6] {
        let found = host.routes(family, Some(MAIN), None).ok()?.into_iter().filter(|route| route.dst.prefix() != 0);
        routes.extend(found.filter_map(|route| Some(NodeRoute { dst: route.dst, interface: name(route.oif)? })));
    }
    Some(routes)
}

fn programs(bin_dir: &Path) -> Option<BTreeSet<String>> {
    let entries = match std::fs::read_dir(bin_dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Some(BTreeSet::new()),
        Err(_) => return None,
    };
    let is_program =
        |path: &Path| path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0);
    let programs = entries.flatten().filter(|entry| is_program(&entry.path()));
    Some(programs.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect())
}

fn is_on(sysctl: Result<Sysctl, netlink::Error>) -> Option<bool> {
    sysctl.ok()?.read().ok()?.map(|value| value.trim() != "0")
}

/// iptables' chains by asking iptables' tables; those of others by looking at every chain of nf_tables.
fn drops_forwarded() -> Vec<String> {
    let mut nft = Nft::open().ok();
    let mut chains = Vec::new();
    for (family, name) in [(iptables::Family::V4, "iptables"), (iptables::Family::V6, "ip6tables")] {
        if Make::ALL.into_iter().any(|make| make.drops_forwarded(nft.as_mut(), family)) {
            chains.push(format!("{name}' FORWARD"));
        }
    }
    let Some(nft) = &mut nft else { return chains };
    for table in nft.tables(None).unwrap_or_default() {
        let is_iptables = matches!(table.family, nft::Family::Ip | nft::Family::Ip6) && table.name == "filter";
        for chain in nft.chains(&table).unwrap_or_default() {
            let drops = chain.base.is_some_and(|base| base.hook == Hook::Forward && base.policy == Policy::Drop);
            if drops && !is_iptables {
                chains.push(format!("the chain {:?} of nf_tables' table {:?}", chain.name, table.name));
            }
        }
    }
    chains
}
