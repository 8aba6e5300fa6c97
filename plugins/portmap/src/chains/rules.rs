//! The rules as text, as `iptables-save` prints them, so that what is there can be compared with what must be.

use std::net::{IpAddr, SocketAddr};

use iptables::{Family, Ruleset};

use super::{Chains, DNAT, GUARD, MASQ, NAT, RAW, SETMARK};
use crate::config::SetMark;
use crate::mapping::{Mapping, Protocol};

/// iptables' limit for a comment, less the closing zero.
const MAX_COMMENT: usize = 255;
/// The multiport match's limit.
const MAX_PORTS: usize = 15;

impl Chains<'_> {
    /// The script that makes whatever is missing of the shared chains, and the container's own anew.
    pub(super) fn script(&self, family: Family, saved: &Ruleset) -> String {
        let own = self.own_chain();
        let has_chain = |chain: &str| saved.chains.iter().any(|known| known == chain);
        let has_rule =
            |chain: &str, spec: &str| saved.rules.iter().any(|rule| rule.chain == chain && rule.spec == spec);
        let jumps =
            |chain: &str, to: &str| saved.rules.iter().any(|rule| rule.chain == chain && rule.target() == Some(to));
        let mut lines = vec![format!("*{NAT}")];
        let marks = self.mark_rules();
        let mut shared = vec![DNAT];
        shared.extend(marks.iter().map(|(chain, _)| *chain));
        // Naming a chain empties it: what others share is named only where it is not there.
        lines.extend(shared.into_iter().filter(|chain| !has_chain(chain)).map(declared));
        lines.push(declared(&own));
        let old = saved.rules.iter().filter(|rule| rule.chain == DNAT && rule.target() == Some(&own));
        lines.extend(old.map(iptables::Line::deletion));
        lines.extend(
            marks
                .iter()
                .filter(|(chain, spec)| !has_rule(chain, spec))
                .map(|(chain, spec)| format!("-A {chain} {spec}")),
        );
        for (chain, target) in self.hooks().into_iter().filter(|(chain, target)| !jumps(chain, target)) {
            lines.push(match target {
                // Before the rules of those who masquerade pods, which would end the search.
                MASQ => format!("-I {chain} -m comment --comment \"CNI portfwd requiring masquerade\" -j {MASQ}"),
                _ => format!("-A {chain} -m addrtype --dst-type LOCAL -j {target}"),
            });
        }
        lines.extend(self.rules(family).iter().map(|spec| format!("-A {own} {spec}")));
        lines.extend(self.entries(family).iter().map(|spec| format!("-A {DNAT} {spec}")));
        lines.push("COMMIT\n".to_owned());
        lines.join("\n")
    }

    /// The rules of the mark, where it is ours.
    pub(super) fn mark_rules(&self) -> Vec<(&'static str, String)> {
        let SetMark::Bit(bit) = self.config.set_mark else { return Vec::new() };
        if !self.config.snat {
            return Vec::new();
        }
        let mark = format!("{0:#x}/{0:#x}", 1u32 << bit);
        let set = format!("-m comment --comment \"CNI portfwd masquerade mark\" -j MARK --set-xmark {mark}");
        vec![(SETMARK, set), (MASQ, format!("-m mark --mark {mark} -j MASQUERADE"))]
    }

    /// The container's own chain.
    pub(super) fn rules(&self, family: Family) -> Vec<String> {
        let set_mark = match &self.config.set_mark {
            SetMark::Bit(_) => SETMARK,
            SetMark::Chain(chain) => chain,
        };
        let mut rules = Vec::new();
        for mapping in of_family(self.mappings, family) {
            let port = port(mapping);
            if self.config.snat && self.config.masq_all {
                rules.push(format!("{port} -j {set_mark}"));
            } else if self.config.snat {
                let subnet = self.addresses.iter().find(|pod| pod.ip() == mapping.target.ip());
                rules.extend(
                    subnet.map(|pod| format!("-s {}/{} {port} -j {set_mark}", pod.0.network(), pod.0.prefix())),
                );
                if family == Family::V4 {
                    rules.push(format!("-s 127.0.0.1/32 {port} -j {set_mark}"));
                }
            }
            rules.push(format!("{port} -j DNAT --to-destination {}", mapping.target));
        }
        rules
    }

    /// The jumps to it.
    pub(super) fn entries(&self, family: Family) -> Vec<String> {
        let comment = comment(self.network, self.container_id);
        let mut entries = Vec::new();
        for protocol in [Protocol::Sctp, Protocol::Tcp, Protocol::Udp] {
            let of_protocol = of_family(self.mappings, family).filter(|mapping| mapping.protocol == protocol);
            let mut ports: Vec<String> = of_protocol.map(|mapping| mapping.host_port.to_string()).collect();
            ports.dedup();
            let conditions: String = self.conditions(family).iter().map(|word| format!(" {}", quoted(word))).collect();
            entries.extend(ports.chunks(MAX_PORTS).map(|ports| {
                let (protocol, ports) = (protocol.name(), ports.join(","));
                let own = self.own_chain();
                format!(
                    "-p {protocol} -m comment --comment {comment} -m multiport --dports {ports}{conditions} -j {own}"
                )
            }));
        }
        entries
    }
}

fn of_family(mappings: &[Mapping], family: Family) -> impl Iterator<Item = &Mapping> {
    mappings.iter().filter(move |mapping| Family::of(mapping.target.ip()) == family)
}

fn declared(chain: &str) -> String {
    format!(":{chain} - [0:0]")
}

fn port(mapping: &Mapping) -> String {
    let name = mapping.protocol.name();
    let port = format!("-p {name} -m {name} --dport {}", mapping.host_port);
    match mapping.host_ip {
        Some(host @ IpAddr::V4(_)) => format!("-d {host}/32 {port}"),
        Some(host) => format!("-d {host}/128 {port}"),
        None => port,
    }
}

/// The reference's comment, quoted.
fn comment(network: &str, container_id: &str) -> String {
    let mut text = format!("dnat {}", iptables::comment(network, container_id));
    if text.len() > MAX_COMMENT {
        text.truncate(MAX_COMMENT - 2);
        text.push_str("...");
        text.truncate(MAX_COMMENT);
    }
    quoted(&text)
}

/// What begins the comments of a network's jumps, as they are printed.
pub(super) fn comment_of(network: &str) -> String {
    format!("--comment \"dnat name: \\\"{network}\\\" id: ")
}

fn quoted(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"!-./:,_@+=".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) {
        return word.to_owned();
    }
    format!("\"{}\"", word.replace('\\', "\\\\").replace('"', "\\\""))
}

/// The chain that drops what comes with a loopback address from elsewhere, and the jump to it.
pub(super) fn guard() -> String {
    format!(
        "*{RAW}\n{}\n-A {GUARD} -d 127.0.0.0/8 -j DROP\n-A {GUARD} -s 127.0.0.0/8 -j DROP\n\
         -I PREROUTING ! -i lo -m comment --comment \"CNI portfwd loopback guard\" -j {GUARD}\nCOMMIT\n",
        declared(GUARD)
    )
}

/// A port that a container has, as a rule of its chain tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Port {
    pub chain: String,
    /// The comment of the jump to the chain.
    pub owner: String,
    pub protocol: Protocol,
    pub host_ip: Option<IpAddr>,
    pub host_port: u16,
    pub target: SocketAddr,
}

impl Port {
    /// Whether packets for the mapping would come here.
    pub fn takes(&self, mapping: &Mapping) -> bool {
        self.protocol == mapping.protocol
            && self.host_port == mapping.host_port
            && self.target.is_ipv4() == mapping.target.is_ipv4()
            && self.host_ip.zip(mapping.host_ip).is_none_or(|(a, b)| a == b)
    }
}

/// The ports of every container that has no conditions.
pub(super) fn ports(family: Family, saved: &Ruleset) -> Vec<Port> {
    let mut ports = Vec::new();
    for rule in &saved.rules {
        let mut jumps = saved.rules.iter().filter(|jump| jump.chain == DNAT && jump.target() == Some(&rule.chain));
        let Some(jump) = jumps.next().filter(|_| rule.target() == Some("DNAT")) else { continue };
        let unconditional =
            jump.spec.rsplit_once("--dports ").is_some_and(|(_, rest)| rest.split(' ').nth(1) == Some("-j"));
        if unconditional && let Some(port) = read(family, &rule.chain, &rule.spec, &jump.spec) {
            ports.push(port);
        }
    }
    ports
}

/// Reads a rule that the reference or this plugin made.
pub(super) fn read(family: Family, chain: &str, spec: &str, jump: &str) -> Option<Port> {
    let value = |name: &str| {
        let mut words = spec.split(' ');
        words.find(|word| *word == name).and_then(|_| words.next())
    };
    let target: SocketAddr = value("--to-destination")?.parse().ok()?;
    if Family::of(target.ip()) != family {
        return None;
    }
    let host = value("-d").and_then(|host| host.split('/').next());
    let owner = jump.split_once("--comment \"").and_then(|(_, rest)| rest.split_once("\" -m"));
    Some(Port {
        chain: chain.to_owned(),
        owner: owner.map_or(chain, |(comment, _)| comment.trim_start_matches("dnat ")).replace('\\', ""),
        protocol: Protocol::parse(value("-p")?)?,
        host_ip: host.map(str::parse).transpose().ok()?,
        host_port: value("--dport")?.parse().ok()?,
        target,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAVED: &str = r#"*nat
:CNI-HOSTPORT-DNAT - [0:0]
:CNI-DN-a - [0:0]
:CNI-DN-b - [0:0]
-A CNI-DN-a -s 10.1.0.0/24 -p tcp -m tcp --dport 8080 -j CNI-HOSTPORT-SETMARK
-A CNI-DN-a -d 192.0.2.1/32 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 10.1.0.2:80
-A CNI-DN-b -p udp -m udp --dport 53 -j DNAT --to-destination 10.1.0.3:53
-A CNI-HOSTPORT-DNAT -p tcp -m comment --comment "dnat name: \"net\" id: \"c1\"" -m multiport --dports 8080 -j CNI-DN-a
-A CNI-HOSTPORT-DNAT -p udp -m comment --comment "dnat name: \"net\" id: \"c2\"" -m multiport --dports 53 ! -s 10.0.0.1/32 -j CNI-DN-b
COMMIT
"#;

    #[test]
    fn ports_of_containers_without_conditions_are_read() {
        let ports = ports(Family::V4, &Ruleset::parse(SAVED));
        let mapping = |host_ip: Option<&str>, protocol| Mapping {
            protocol,
            host_ip: host_ip.map(|text| text.parse().unwrap()),
            host_port: 8080,
            target: "10.1.0.9:80".parse().unwrap(),
        };
        let [port] = ports.as_slice() else { panic!("{ports:?}") };
        assert_eq!((port.chain.as_str(), port.owner.as_str()), ("CNI-DN-a", r#"name: "net" id: "c1""#));
        for (host_ip, protocol, takes) in [
            (None, Protocol::Tcp, true),
            (Some("192.0.2.1"), Protocol::Tcp, true),
            (Some("192.0.2.2"), Protocol::Tcp, false),
            (None, Protocol::Udp, false),
        ] {
            assert_eq!(port.takes(&mapping(host_ip, protocol)), takes, "{host_ip:?}");
        }
    }

    #[test]
    fn words_stay_words() {
        for (word, text) in [("-d", "-d"), ("a b", "\"a b\""), ("a\"b\\", "\"a\\\"b\\\\\""), ("", "\"\"")] {
            assert_eq!(quoted(word), text);
        }
    }
}
