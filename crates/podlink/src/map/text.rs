//! The picture as a tree of characters.

use std::fmt::Write as _;

use super::picture::{Bridge, Picture, Pod, Uplink};
use super::printable;

/// Something with what hangs on it: its first line, more lines, and the rest of the tree.
#[derive(Default)]
struct Branch {
    line: String,
    more: Vec<String>,
    branches: Vec<Branch>,
}

/// Draws it.
pub(crate) fn draw(picture: &Picture) -> String {
    let mut text = String::new();
    root(picture).draw(&mut text, "", "");
    text
}

fn root(picture: &Picture) -> Branch {
    let line = format!("node  {}", picture.node).trim_end().to_owned();
    let mut branches: Vec<_> = picture.uplinks.iter().map(uplink).collect();
    branches.extend(picture.bridges.iter().map(bridge));
    let groups =
        [("pods on links of their own", &picture.beside), ("no interface on the node leads to", &picture.without)];
    for (line, pods) in groups.into_iter().filter(|(_, pods)| !pods.is_empty()) {
        branches.push(Branch { line: line.to_owned(), branches: pods.iter().map(pod).collect(), ..Branch::default() });
    }
    Branch { line, branches, ..Branch::default() }
}

fn uplink(uplink: &Uplink) -> Branch {
    let kind = uplink.what();
    let line =
        format!("{kind} {}{}{}", uplink.name, listed("", &uplink.addresses), listed("default via ", &uplink.gateways));
    Branch { line, ..Branch::default() }
}

fn bridge(bridge: &Bridge) -> Branch {
    let mut line = format!("bridge {}{}", bridge.name, listed("", &bridge.addresses));
    line += &listed("default via ", &bridge.gateways);
    line += &listed(if bridge.networks.len() == 1 { "network " } else { "networks " }, &bridge.networks);
    if !bridge.is_up {
        line += "  DOWN";
    }
    let ports = bridge.ports.iter().map(|name| Branch { line: name.clone(), ..Branch::default() });
    Branch { line, branches: ports.chain(bridge.pods.iter().map(pod)).collect(), ..Branch::default() }
}

fn pod(pod: &Pod) -> Branch {
    let link = pod.link.as_ref().map(|name| format!("{name} ══ ")).unwrap_or_default();
    let line = format!("{link}{}{}", pod.place(), listed("", &pod.addresses));
    Branch { line, more: pod.details(), ..Branch::default() }
}

/// Two blanks, and what the list is.
fn listed(what: &str, all: &[String]) -> String {
    if all.is_empty() { String::new() } else { format!("  {what}{}", all.join(", ")) }
}

impl Branch {
    /// Writes the lines; the first begins with `first`, those below it with `rest`.
    fn draw(&self, text: &mut String, first: &str, rest: &str) {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{first}{}", printable(&self.line));
        let trunk = if self.branches.is_empty() { "   " } else { "│  " };
        for line in &self.more {
            let _ = writeln!(text, "{rest}{trunk}{}", printable(line));
        }
        for (index, branch) in self.branches.iter().enumerate() {
            let (corner, side) =
                if index + 1 == self.branches.len() { ("└─ ", "   ") } else { ("├─ ", "│  ") };
            branch.draw(text, &format!("{rest}{corner}"), &format!("{rest}{side}"));
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use inventory::Verdict;

    use super::*;

    fn words(all: &[&str]) -> Vec<String> {
        all.iter().map(ToString::to_string).collect()
    }

    /// A node with something of every kind.
    pub fn node() -> Picture {
        let living = Pod {
            name: Some("default/web".to_owned()),
            network: "net".to_owned(),
            container_id: "0123456789abcdef".repeat(4),
            ifname: "eth0".to_owned(),
            link: Some("veth221f94103cb".to_owned()),
            namespace: Some("pod-a".to_owned()),
            addresses: words(&["10.1.0.2/24", "fd00::2/64"]),
            host_ports: words(&["tcp 8080 → 80"]),
            rules: words(&["masquerade", "spoof check"]),
            limits: words(&["sends at most 12 Mbit/s"]),
            verdict: Some(Verdict::Alive),
            why: String::new(),
        };
        let foreign = Pod {
            ifname: "eth0".to_owned(),
            link: Some("veth1".to_owned()),
            namespace: Some("b<&>\"\u{1b}[2J".to_owned()),
            ..Pod::default()
        };
        let routed = Pod {
            network: "p2p".to_owned(),
            container_id: "c2".to_owned(),
            ifname: "eth0".to_owned(),
            link: Some("veth2".to_owned()),
            namespace: Some("c".to_owned()),
            addresses: words(&["10.2.0.2/32"]),
            verdict: Some(Verdict::Alive),
            ..Pod::default()
        };
        let gone = Pod {
            network: "net".to_owned(),
            container_id: "c9".to_owned(),
            ifname: "eth0".to_owned(),
            addresses: words(&["10.1.0.9"]),
            verdict: Some(Verdict::Dead),
            why: "no network namespace has the address".to_owned(),
            ..Pod::default()
        };
        Picture {
            node: "worker".to_owned(),
            uplinks: vec![Uplink {
                name: "eth0".to_owned(),
                kind: "physical".to_owned(),
                addresses: words(&["192.0.2.1/24"]),
                gateways: words(&["192.0.2.100"]),
            }],
            bridges: vec![Bridge {
                name: "cni0".to_owned(),
                is_up: true,
                addresses: words(&["10.1.0.1/24"]),
                networks: words(&["net"]),
                ports: words(&["eth1"]),
                pods: vec![living, foreign],
                ..Bridge::default()
            }],
            beside: vec![routed],
            without: vec![gone],
        }
    }

    #[test]
    fn a_node_is_a_tree() {
        let expected = "\
node  worker
├─ uplink eth0  192.0.2.1/24  default via 192.0.2.100
├─ bridge cni0  10.1.0.1/24  network net
│  ├─ eth1
│  ├─ veth221f94103cb ══ eth0 in pod-a  10.1.0.2/24, fd00::2/64
│  │     pod default/web, container 0123456789ab, network net
│  │     host port tcp 8080 → 80
│  │     masquerade, spoof check
│  │     sends at most 12 Mbit/s
│  └─ veth1 ══ eth0 in b<&>\"\u{fffd}[2J
├─ pods on links of their own
│  └─ veth2 ══ eth0 in c  10.2.0.2/32
│        container c2, network p2p
└─ no interface on the node leads to
   └─ eth0 in no namespace that is known  10.1.0.9
         container c9, network net
         ✗ dead: no network namespace has the address
";
        assert_eq!(draw(&node()), expected);
    }

    #[test]
    fn an_empty_node_is_a_node() {
        assert_eq!(draw(&Picture::default()), "node\n");
    }
}
