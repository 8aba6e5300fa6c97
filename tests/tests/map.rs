//! `podlink map` on nodes with real pods.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::path::PathBuf;
use std::process::Command;

use podlink_tests::outside::Outside;
use podlink_tests::process::Finished;
use podlink_tests::{BinDir, Node, Pod, PodId, conf, files};
use serde_json::{Value, json};

/// A node with an uplink and two networks: `net`, a bridge with all that can be chained to it, and `p2p`.
struct Site {
    node: Node,
    _outside: Outside,
}

impl Site {
    fn new(net: &str, p2p: &str) -> Site {
        let node = Node::new();
        let outside = Outside::of(&node);
        let site = Site { node, _outside: outside };
        files::make_dir(&site.conf_dir());
        let bridge = json!({
            "type": "bridge", "bridge": "map0", "isGateway": true, "ipMasq": true, "macspoofchk": true,
            "ipam": conf::host_local(&[net]),
        });
        let portmap = json!({ "type": "portmap", "capabilities": { "portMappings": true } });
        let firewall = json!({ "type": "firewall", "backend": "nftables" });
        let bandwidth = json!({ "type": "bandwidth", "ingressRate": 20_000_000, "egressRate": 1_500_000 });
        site.configure("net", json!([bridge, portmap, firewall, bandwidth]));
        site.configure("p2p", json!([{ "type": "ptp", "ipMasq": true, "ipam": conf::host_local(&[p2p]) }]));
        site
    }

    fn configure(&self, network: &str, plugins: Value) {
        let list = json!({ "cniVersion": "1.0.0", "name": network, "plugins": plugins });
        files::write(&self.conf_dir().join(format!("{network}.conflist")), &list.to_string());
    }

    fn conf_dir(&self) -> PathBuf {
        self.node.dir().join("conf")
    }

    /// What a runtime does; the pod's first address with its prefix length, and the node's interface that leads to it.
    #[track_caller]
    fn add(&self, bins: &BinDir, network: &str, pod: &impl AsRef<PodId>, name: &str, ports: Value) -> Added {
        let mut cnitool = Command::new(BinDir::ours().plugin("cnitool"));
        cnitool.args(["add", network]).arg(&pod.as_ref().netns);
        cnitool
            .env("NETCONFPATH", self.conf_dir())
            .env("CNI_PATH", bins.path())
            .env("CNI_ARGS", format!("IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME={name}"))
            .env("CAP_ARGS", json!({ "portMappings": ports }).to_string());
        let result: Value = serde_json::from_str(&self.node.finish(&mut cnitool, b"").success()).unwrap();
        let links = result["interfaces"].as_array().unwrap().iter();
        let mut veths = links.filter_map(|link| link["name"].as_str()).filter(|name| name.starts_with("veth"));
        Added {
            address: result["ips"][0]["address"].as_str().unwrap().to_owned(),
            link: veths.next().unwrap().to_owned(),
        }
    }

    fn map(&self, line: &[&str]) -> Finished {
        let mut command = Command::new(BinDir::ours().plugin("podlink"));
        command.arg("map").args(line).arg("--conf-dir").arg(self.conf_dir());
        self.node.finish(&mut command, b"")
    }

    /// The pod goes without a DEL, so long ago that no ADD can be under way.
    fn lose(&self, network: &str, pod: Pod, of: &Added) {
        pod.destroy();
        self.node.wait_until("the pod's pair is gone", |node| node.link(&of.link).is_none());
        let file = self.node.outside("/var/lib/cni/networks").join(network).join(of.ip());
        self.node.sh(&["touch", "-d", "1 hour ago", file.to_str().unwrap()]);
    }
}

struct Added {
    address: String,
    link: String,
}

impl Added {
    fn ip(&self) -> &str {
        self.address.split('/').next().unwrap()
    }
}

/// The lines about a pod: the one that has `what` in it, and those that are further in.
#[track_caller]
fn part<'a>(text: &'a str, what: &str) -> Vec<&'a str> {
    let inside = |line: &str| line.chars().take_while(|char| " │├└─".contains(*char)).count();
    let mut lines = text.lines().skip_while(|line| !line.contains(what));
    let first = lines.next().unwrap_or_else(|| panic!("{what} is not in:\n{text}"));
    let depth = inside(first);
    std::iter::once(first).chain(lines.take_while(|line| inside(line) > depth)).collect()
}

/// Fails where a line that must be there is not: each is told without what begins it.
#[track_caller]
fn assert_lines(part: &[&str], expected: &[&str]) {
    let found: Vec<_> = part.iter().map(|line| line.trim_start_matches([' ', '│', '├', '└', '─'])).collect();
    for line in expected {
        assert!(found.contains(line), "no line {line:?} in {found:#?}");
    }
}

#[test]
fn names_addresses_ports_and_rules_are_in_the_picture() {
    let site = Site::new("10.219.41.0/24", "10.219.42.0/24");
    // Its interfaces have the same numbers, so only the kernel can tell whose pairs are whose.
    let other = Site::new("10.219.43.0/24", "10.219.44.0/24");
    let ours = BinDir::ours();
    let pods = ["a", "b", "c"].map(|name| (site.node.pod(name), other.node.pod(name)));
    let ports = json!([
        { "hostPort": 8080, "containerPort": 80, "protocol": "tcp" },
        { "hostPort": 53, "containerPort": 5353, "protocol": "udp", "hostIP": "192.0.2.1" },
    ]);
    let asked = [("net", ports), ("net", json!([])), ("p2p", json!([]))];
    let mut all = Vec::new();
    for ((pod, twin), (network, ports)) in pods.iter().zip(asked) {
        let name = pod.id().netns.file_name().unwrap().to_string_lossy().into_owned();
        other.add(&ours, network, twin, &name, ports.clone());
        all.push(site.add(&ours, network, pod, &name, ports));
    }
    let [a, b, c] = &all[..] else { panic!() };

    let text = site.map(&[]).success();
    assert_eq!(site.map(&[]).success(), text, "the same node is the same picture");
    assert!(!text.contains("10.219.43.") && !text.contains("10.219.44."), "another node's:\n{text}");
    let uplink = "uplink up0  192.0.2.1/24, 2001:db8:ffff::1/64  default via 192.0.2.2, 2001:db8:ffff::2";
    assert_lines(&part(&text, "up0"), &[uplink]);
    let bridge = part(&text, "bridge map0");
    assert_lines(&bridge, &["bridge map0  10.219.41.1/24  network net"]);
    let rules = "firewall, masquerade, spoof check";
    let limits = "receives at most 20 Mbit/s, sends at most 1.5 Mbit/s";
    let of_a = part(&text, &a.link);
    assert_lines(
        &of_a,
        &[
            &format!("{} ══ eth0 in a  {}", a.link, a.address),
            "host port tcp 8080 → 80, udp 192.0.2.1:53 → 5353",
            rules,
            limits,
        ],
    );
    assert!(of_a[1].contains("pod default/a, container ") && of_a[1].ends_with(", network net"), "{of_a:?}");
    let of_b = part(&text, &b.link);
    assert_lines(&of_b, &[&format!("{} ══ eth0 in b  {}", b.link, b.address), rules, limits]);
    assert!(!of_b.join("\n").contains("host port"), "{of_b:?}");
    assert!(of_a.iter().chain(&of_b).all(|line| bridge.contains(line)), "they are on the bridge:\n{text}");
    let beside = part(&text, "pods on links of their own");
    assert_lines(&beside, &[&format!("{} ══ eth0 in c  {}", c.link, c.address), "masquerade"]);
    assert!(!text.contains("dead") && !text.contains("unknown"), "{text}");

    let only = site.map(&["--network", "p2p"]).success();
    assert!(only.contains(&c.link) && !only.contains(&a.link) && !only.contains("map0"), "{only}");
    let absent = site.map(&["--network", "nte"]);
    assert!(absent.code == Some(1) && absent.stderr.contains(r#"no network "nte": found are net, p2p"#), "{absent}");
    assert_eq!(site.map(&["--json"]).code, Some(2));
}

#[test]
fn pods_of_the_reference_and_what_lost_pods_left_are_drawn() {
    let site = Site::new("10.219.45.0/24", "10.219.46.0/24");
    let bridge = json!({
        "type": "bridge", "bridge": "ref0", "isGateway": true, "ipMasq": true, "ipam": conf::host_local(&["10.219.47.0/24"]),
    });
    site.configure("ref", json!([bridge, { "type": "portmap", "capabilities": { "portMappings": true } }]));
    let (pod, lost, kept) = (site.node.pod("theirs"), site.node.pod("lost"), site.node.pod("kept"));
    let ports = |port: u16| json!([{ "hostPort": port, "containerPort": 80, "protocol": "tcp" }]);
    let theirs = site.add(&BinDir::reference(), "ref", &pod, "theirs", ports(9000));
    let gone = site.add(&BinDir::ours(), "net", &lost, "lost", ports(9001));
    site.add(&BinDir::ours(), "net", &kept, "kept", ports(9002));
    site.lose("net", lost, &gone);
    // A pair on the bridge that nobody knows.
    let stranger = site.node.pod("stranger");
    site.node.sh(&["ip", "link", "add", "odd0", "type", "veth", "peer", "name", "eth7", "netns", "stranger"]);
    site.node.sh(&["ip", "link", "set", "odd0", "master", "map0"]);

    let text = site.map(&[]).success();
    let of_theirs = part(&text, &theirs.link);
    assert_lines(
        &of_theirs,
        &[&format!("{} ══ eth0 in theirs  {}", theirs.link, theirs.address), "host port tcp 9000", "masquerade"],
    );
    assert!(part(&text, "bridge ref0").contains(&of_theirs[0]), "{text}");
    assert_lines(&part(&text, "bridge map0"), &["odd0 ══ eth7 in stranger"]);
    let left = part(&text, "no interface on the node leads to");
    let first = format!("eth0 in no namespace that is known  {}", gone.ip());
    assert_lines(&left, &[&first, "host port tcp 9001 → 80", "firewall, masquerade, spoof check"]);
    let why = "the namespace /run/netns/lost is gone";
    assert!(left.iter().any(|line| line.contains("✗ dead: ") && line.contains(why)), "{left:#?}");
    assert_eq!(text.matches("✗ dead").count(), 1, "{text}");
    drop(stranger);
}

#[test]
fn the_svg_is_well_formed_and_says_the_same() {
    let site = Site::new("10.219.48.0/24", "10.219.49.0/24");
    let empty = site.map(&["--svg"]).success();
    well_formed(&empty).unwrap_or_else(|why| panic!("{why}:\n{empty}"));
    let (pod, other) = (site.node.pod("a"), site.node.pod("b"));
    let ports = json!([{ "hostPort": 8080, "containerPort": 80, "protocol": "tcp" }]);
    // What a runtime says goes into the picture as text, whatever it is.
    let a = site.add(&BinDir::ours(), "net", &pod, "<b>&\"]]>", ports);
    let b = site.add(&BinDir::ours(), "p2p", &other, "b", json!([]));

    let file = site.node.dir().join("map.svg");
    let told = site.map(&["--svg", file.to_str().unwrap()]).success();
    assert_eq!(told, "");
    let drawing = std::fs::read_to_string(&file).unwrap();
    assert_eq!(site.map(&["--svg"]).success(), drawing);
    well_formed(&drawing).unwrap_or_else(|why| panic!("{why}:\n{drawing}"));
    for text in [
        &a.link,
        &a.address,
        &b.link,
        &b.address,
        "bridge map0",
        "192.0.2.1/24",
        "host port tcp 8080 → 80",
        "default/&lt;b&gt;&amp;&quot;]]&gt;",
    ] {
        assert!(drawing.contains(text), "{text} is not in:\n{drawing}");
    }
    let no_dir = site.map(&["--svg", "/nowhere/map.svg"]);
    assert!(
        no_dir.code == Some(1) && no_dir.stderr.contains("cannot write the picture to /nowhere/map.svg"),
        "{no_dir}"
    );
}

#[test]
fn the_checker_of_xml_knows_what_is_wrong() {
    assert_eq!(well_formed("<?xml version=\"1.0\"?>\n<a b=\"c\"><d/>x &amp; y</a>\n"), Ok(()));
    for wrong in [
        "",
        "text",
        "<a>",
        "<a></b>",
        "<a/><b/>",
        "<a b=c/>",
        "<a b=\"<\"/>",
        "<a>&</a>",
        "<a>&nbsp;</a>",
        "<a>\u{1b}</a>",
    ] {
        assert!(well_formed(wrong).is_err(), "{wrong:?}");
    }
}

/// Whether a text is well-formed XML, of what SVG needs of it (elements, attributes, text, the five entities).
fn well_formed(text: &str) -> Result<(), String> {
    if let Some(odd) = text.chars().find(|char| char.is_control() && !"\t\r\n".contains(*char)) {
        return Err(format!("the character {odd:?}"));
    }
    let mut rest = match text.strip_prefix("<?xml ") {
        Some(declared) => declared.split_once("?>").ok_or("the declaration does not end")?.1.trim_start(),
        None => text,
    };
    let (mut open, mut is_begun) = (Vec::new(), false);
    while let Some((before, after)) = rest.split_once('<') {
        if open.is_empty() && (!before.trim().is_empty() || (is_begun && !after.is_empty())) {
            return Err(format!("something outside of the root element: {before:?}<{after:.20}"));
        }
        entities(before)?;
        let (tag, behind) = after.split_once('>').ok_or("a tag does not end")?;
        rest = behind;
        is_begun = true;
        if let Some(name) = tag.strip_prefix('/') {
            let last = open.pop();
            if last != Some(name) {
                return Err(format!("</{name}> ends {last:?}"));
            }
            continue;
        }
        let (tag, is_empty) = tag.strip_suffix('/').map_or((tag, false), |tag| (tag, true));
        let (name, mut attributes) = tag.split_once(' ').unwrap_or((tag, ""));
        while !attributes.trim().is_empty() {
            let (_, value) =
                attributes.split_once("=\"").ok_or_else(|| format!("an attribute without quotes in <{tag}>"))?;
            let (value, next) = value.split_once('"').ok_or_else(|| format!("a quote that does not end in <{tag}>"))?;
            if value.contains('<') {
                return Err(format!("< in an attribute of <{tag}>"));
            }
            entities(value)?;
            attributes = next;
        }
        if !is_empty {
            open.push(name);
        }
    }
    match open.last() {
        Some(name) => Err(format!("<{name}> does not end")),
        None if !is_begun || !rest.trim().is_empty() => Err("no root element, or something after it".to_owned()),
        None => Ok(()),
    }
}

fn entities(text: &str) -> Result<(), String> {
    let known = ["amp;", "lt;", "gt;", "quot;", "apos;"];
    match text.split('&').skip(1).find(|after| !known.iter().any(|name| after.starts_with(name))) {
        Some(after) => Err(format!("&{after:.20}: no entity")),
        None => Ok(()),
    }
}
