//! Rules in the kernel that name an owner, and which plugin made them.

use std::collections::{BTreeMap, BTreeSet};

use cni::Attachment;
use nft::{Nft, Table};
use pod::Owner;

use crate::host_port::HostPort;

/// What begins the names of podlink's tables.
const TABLES: &str = "podlink_";

/// Rules of one owner in one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnedRules {
    /// Whose they are. iptables rules do not name the interface: it is then empty.
    pub owner: Owner,
    /// The table: `inet podlink_hostport`, `iptables nat`.
    pub place: String,
    /// The type of the plugin that makes such rules, and whose DEL removes them.
    pub plugin: &'static str,
    /// How many elements and rules.
    pub count: usize,
    /// The host ports that they lead to the pod, in order.
    pub host_ports: Vec<HostPort>,
}

type Key = (String, &'static str, String, Attachment);
type Counts = BTreeMap<Key, (usize, BTreeSet<HostPort>)>;

/// All rules that name an owner; the second says what could not be read.
pub fn read() -> (Vec<OwnedRules>, Vec<String>) {
    let (mut counts, mut problems) = (Counts::new(), Vec::new());
    match Nft::open().and_then(|mut nft| of_nf_tables(&mut nft, &mut counts)) {
        Err(error) if !error.is_unsupported() => problems.push(format!("nf_tables rules: {error}")),
        _ => {}
    }
    for family in iptables::Family::ALL {
        for table in ["nat", "filter"] {
            if let Err(error) = of_iptables(family, table, &mut counts) {
                problems.push(format!("iptables rules of table {table}: {error}"));
            }
        }
    }
    let rules = counts.into_iter().map(|((place, plugin, network, attachment), (count, ports))| OwnedRules {
        owner: Owner { network, attachment },
        place,
        plugin,
        count,
        host_ports: ports.into_iter().collect(),
    });
    (rules.collect(), problems)
}

fn maker(table: &Table) -> Option<&'static str> {
    Some(match table.name.strip_prefix(TABLES)? {
        "hostport" => "portmap",
        "filter" => "firewall",
        "masq" | "spoof" => "bridge",
        _ => return None,
    })
}

fn of_nf_tables(nft: &mut Nft, counts: &mut Counts) -> Result<(), nft::Error> {
    for table in nft.tables(None)? {
        let Some(plugin) = maker(&table) else { continue };
        let place = table.to_string();
        let mut count = |text: Option<&str>, port: Option<HostPort>| {
            if let Some(owner) = text.and_then(Owner::from_alias) {
                let of = counts.entry((place.clone(), plugin, owner.network, owner.attachment)).or_default();
                of.0 += 1;
                of.1.extend(port);
            }
        };
        for set in nft.sets(&table)?.into_iter().filter(|set| !set.anonymous) {
            for element in nft.elements_if_there(&table, &set.name)? {
                let port = Some(&element).filter(|_| plugin == "portmap");
                count(element.owner.as_deref(), port.and_then(|one| HostPort::of_element(&set.name, one)));
            }
        }
        nft.table_rules(&table)?.iter().for_each(|rule| count(rule.comment.as_deref(), None));
    }
    Ok(())
}

fn of_iptables(family: iptables::Family, table: &str, counts: &mut Counts) -> Result<(), iptables::Error> {
    if !iptables::may_have_table(family, table) {
        return Ok(());
    }
    let saved = match iptables::save(family, table) {
        // Whoever uses the tables does it without these programs; the rules are none of a plugin's.
        Err(iptables::Error::Missing { .. }) => return Ok(()),
        saved => saved?,
    };
    let place = match family {
        iptables::Family::V4 => format!("iptables {table}"),
        iptables::Family::V6 => format!("ip6tables {table}"),
    };
    for line in iptables::Ruleset::parse(&saved).rules {
        if let Some((plugin, owner)) = owner_of_line(table, &line.spec) {
            let of = counts.entry((place.clone(), plugin, owner.network, owner.attachment)).or_default();
            of.0 += 1;
            if plugin == "portmap" {
                of.1.extend(HostPort::of_line(&line.spec));
            }
        }
    }
    Ok(())
}

/// The comments of the reference's chains, and of firewall where it has to say whose a rule is.
fn owner_of_line(table: &str, spec: &str) -> Option<(&'static str, Owner)> {
    if let Some((_, rest)) = spec.split_once("--comment ")
        && let Some(owner) = rest.split(' ').next().and_then(|word| Owner::from_alias(word.trim_matches('"')))
    {
        return Some((if table == "filter" { "firewall" } else { "bridge" }, owner));
    }
    let is_host_port = spec.contains(r#""dnat name: "#);
    let spec = spec.replacen(r#""dnat name: "#, r#""name: "#, 1);
    let (network, container_id) = iptables::owner(&spec)?;
    let plugin = match table {
        "filter" => "firewall",
        _ if is_host_port => "portmap",
        _ => "bridge",
    };
    Some((plugin, Owner { network, attachment: Attachment { container_id, ifname: String::new() } }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_name_owner_and_plugin() {
        let of = |table: &str, spec: &str| {
            owner_of_line(table, spec).map(|(plugin, owner)| {
                let Attachment { container_id, ifname } = owner.attachment;
                format!("{plugin} {} {container_id} {ifname}", owner.network)
            })
        };
        let masquerade = r#"-s 10.1.0.2/32 -m comment --comment "name: \"net\" id: \"c1\"" -j CNI-abc"#;
        assert_eq!(of("nat", masquerade).as_deref(), Some("bridge net c1 "));
        let port =
            r#"-p tcp -m comment --comment "dnat name: \"net\" id: \"c1\"" -m multiport --dports 80 -j CNI-DN-a"#;
        assert_eq!(of("nat", port).as_deref(), Some("portmap net c1 "));
        let fence = r#"-s 10.1.0.2/32 -m comment --comment "podlink:net/c1/eth0" -j ACCEPT"#;
        assert_eq!(of("filter", fence).as_deref(), Some("firewall net c1 eth0"));
        let fence = "-s 10.1.0.2/32 -m comment --comment podlink:net/c1/eth0 -j ACCEPT";
        assert_eq!(of("filter", fence).as_deref(), Some("firewall net c1 eth0"));
        assert_eq!(of("filter", r#"-m comment --comment "CNI firewall plugin rules" -j CNI-ADMIN"#), None);
    }
}
