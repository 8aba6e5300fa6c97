use nft::Transaction;

use super::*;
use crate::mapping::Protocol;

fn wanted(host_ip: Option<&str>, target: &str, masquerade: Masquerade, via: Option<&str>) -> Vec<String> {
    let mapping = Mapping {
        protocol: Protocol::Tcp,
        host_ip: host_ip.map(|text| text.parse().unwrap()),
        host_port: 8080,
        target: target.parse().unwrap(),
    };
    let via = [via.map(str::to_owned), via.map(str::to_owned)];
    let wanted = Wanted {
        tag: "podlink:net/c1/eth0".to_owned(),
        mappings: vec![mapping],
        masquerade,
        via,
        conditions: [None, None],
    };
    let elements = wanted.elements().into_iter();
    elements
        .map(|(set, element)| format!("{set} {}", element.to_string().replace(" comment \"podlink:net/c1/eth0\"", "")))
        .collect()
}

#[test]
fn a_port_is_an_element_and_so_is_what_its_pod_needs() {
    use Masquerade::{All, Needed, No};
    let owned = |rest: &str| format!("owned \"11588ba9826256e\" . 0 : tcp . 8080 . {rest}");
    assert_eq!(
        wanted(None, "10.1.0.2:80", Needed, Some("cni0")),
        [
            "any4 tcp . 8080 : 10.1.0.2 . 80".to_owned(),
            "itself4 10.1.0.2 . 10.1.0.2".to_owned(),
            "hairpin4 \"cni0\" . \"cni0\" . 10.1.0.2".to_owned(),
            "local4 10.1.0.2".to_owned(),
            owned(":: . ::ffff:10.1.0.2 . \"cni0\""),
        ]
    );
    assert_eq!(
        wanted(Some("2001:db8::1"), "[fd00::2]:80", All, None),
        [
            "address6 2001:db8::1 . tcp . 8080 : fd00::2 . 80".to_owned(),
            "all6 fd00::2".to_owned(),
            owned("2001:db8::1 . fd00::2 . \"/\""),
        ]
    );
    assert_eq!(wanted(None, "10.1.0.2:80", No, Some("cni0")).len(), 2);
}

#[test]
fn the_rules_are_these() {
    // A changed rule here needs a plan for nodes whose table has the old ones: CHECK would call that drift.
    let mut tx = Transaction::new();
    layout::set_up(&mut tx);
    let text = tx.to_string();
    let rules = text.lines().filter_map(|line| line.strip_prefix("add rule inet podlink_hostport "));
    assert_eq!(
        rules.collect::<Vec<_>>(),
        [
            "hostports meta nfproto . meta l4proto . th dport vmap @gate",
            "hostports ip daddr . meta l4proto . th dport vmap @gate4",
            "hostports ip6 daddr . meta l4proto . th dport vmap @gate6",
            "hostports dnat ip to ip daddr . meta l4proto . th dport map @address4",
            "hostports dnat ip to meta l4proto . th dport map @any4",
            "hostports dnat ip6 to ip6 daddr . meta l4proto . th dport map @address6",
            "hostports dnat ip6 to meta l4proto . th dport map @any6",
            "prerouting fib daddr type local jump hostports",
            "output ip6 daddr ::1 return",
            "output fib daddr type local jump hostports",
            "postrouting ct status & dnat == 0x0 return",
            "postrouting ip saddr 127.0.0.0/8 ip daddr @local4 masquerade",
            "postrouting ip saddr . ip daddr @itself4 masquerade",
            "postrouting iifname . oifname . ip daddr @hairpin4 masquerade",
            "postrouting ip daddr @all4 masquerade",
            "postrouting ip6 saddr . ip6 daddr @itself6 masquerade",
            "postrouting iifname . oifname . ip6 daddr @hairpin6 masquerade",
            "postrouting ip6 daddr @all6 masquerade",
            "loopback iif != 1 ip daddr 127.0.0.0/8 drop",
            "loopback iif != 1 ip saddr 127.0.0.0/8 drop",
        ]
    );
}
