use std::net::IpAddr;
use std::path::{Path, PathBuf};

use cni::{Attachment, AttachmentCall, CniResult, Error, NetworkCall};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{Document, Facts, Feature, Finding, Interface, NodeRoute, Severity, check};

/// Stands for the plugins, whose own tests say what they accept.
struct Fake(&'static str);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
#[allow(dead_code, reason = "only the names matter")]
struct Keys {
    bridge: String,
    is_gateway: bool,
    force_address: bool,
    vlan: u32,
    backend: String,
    ipam: Ipam,
}

#[derive(Default, Deserialize)]
#[serde(default)]
#[allow(dead_code, reason = "only the names matter")]
struct Ipam {
    r#type: String,
    ranges: Vec<Vec<Range>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(dead_code, reason = "only the names matter")]
struct Range {
    subnet: String,
    range_start: String,
    range_end: String,
    gateway: String,
}

impl cni::Plugin for Fake {
    fn name(&self) -> &'static str {
        self.0
    }
    fn read_config(&self, call: &NetworkCall) -> Result<(), Error> {
        call.config.read::<Keys>().map(drop)
    }
    fn add(&self, _: &AttachmentCall) -> Result<CniResult, Error> {
        unreachable!("nothing is carried out")
    }
    fn check(&self, _: &AttachmentCall) -> Result<(), Error> {
        unreachable!("nothing is carried out")
    }
    fn del(&self, _: &AttachmentCall) -> Result<(), Error> {
        unreachable!("nothing is carried out")
    }
    fn gc(&self, _: &NetworkCall, _: &[Attachment]) -> Result<(), Error> {
        unreachable!("nothing is carried out")
    }
    fn status(&self, _: &NetworkCall) -> Result<(), Error> {
        unreachable!("nothing is carried out")
    }
}

fn suite(name: &str) -> Option<&'static dyn cni::Plugin> {
    static ALL: [Fake; 4] = [Fake("bridge"), Fake("host-local"), Fake("portmap"), Fake("firewall")];
    ALL.iter().find(|fake| fake.0 == name).map(|fake| fake as &dyn cni::Plugin)
}

fn document(file: &str, name: &str, plugins: &Value) -> Document {
    let content = json!({ "cniVersion": "1.1.0", "name": name, "plugins": plugins }).to_string().into_bytes();
    Document { file: file.into(), content: Ok(content), more: Vec::new() }
}

/// A bridge plugin that is a gateway for `subnet`, with more keys.
fn bridge(subnet: &str, keys: Value) -> Value {
    let ipam = json!({ "type": "host-local", "ranges": [[{ "subnet": subnet }]] });
    let mut plugin = json!({ "type": "bridge", "bridge": "br0", "isGateway": true, "ipam": ipam });
    for (key, value) in keys.as_object().unwrap() {
        plugin[key] = value.clone();
    }
    plugin
}

fn of_list(plugins: Value, facts: &Facts) -> Vec<Finding> {
    check(&[document("a.conflist", "a", &plugins)], &|_| true, facts, suite)
}

fn of_pair(one: Value, other: Value) -> Vec<Finding> {
    let documents = [document("a.conflist", "a", &json!([one])), document("b.conflist", "b", &json!([other]))];
    let findings = check(&documents, &|_| true, &Facts::default(), suite);
    findings.into_iter().filter(|finding| finding.severity != Severity::Note).collect()
}

/// The only finding, which has these words in it.
#[track_caller]
fn only(findings: &[Finding], severity: Severity, words: &[&str]) {
    let [finding] = findings else { panic!("expected one finding with {words:?}: {findings:#?}") };
    let text = format!("{:?} {:?} {} {:?}", finding.plugin, finding.key, finding.what, finding.advice);
    assert_eq!(finding.severity, severity, "{text}");
    words.iter().for_each(|word| assert!(text.contains(word), "{word} is not in {text}"));
}

fn interface(name: &str, kind: &str, addresses: &[&str]) -> Interface {
    let addresses = addresses.iter().map(|text| text.parse().unwrap()).collect();
    Interface { name: name.to_owned(), kind: kind.to_owned(), is_bridge: kind == "bridge", addresses }
}

fn with_interface(name: &str, kind: &str, addresses: &[&str]) -> Facts {
    Facts { interfaces: Some(vec![interface(name, kind, addresses)]), ..Facts::default() }
}

#[test]
fn nothing_is_said_of_what_is_right() {
    let list =
        json!([bridge("10.1.0.0/24", json!({})), { "type": "portmap", "capabilities": { "portMappings": true } }]);
    let facts = Facts {
        interfaces: Some(vec![
            interface("br0", "bridge", &["10.1.0.1/24", "fe80::1/64"]),
            interface("eth0", "physical", &["10.2.0.1/24"]),
        ]),
        routes: Some(vec![NodeRoute { dst: "10.1.0.0/24".parse().unwrap(), interface: "br0".to_owned() }]),
        programs: Some((PathBuf::from("/bin"), ["bridge", "host-local", "portmap"].map(str::to_owned).into())),
        forwards_v4: Some(true),
        forwards_v6: Some(false),
        drops_forwarded: Vec::new(),
        missing: vec![(Feature::Ifb, "none".to_owned()), (Feature::VlanFiltering, "none".to_owned())],
    };
    assert_eq!(of_list(list, &facts), []);
}

#[test]
fn keys_that_nobody_reads_have_their_nearest() {
    let findings = of_list(json!([bridge("10.1.0.0/24", json!({ "isGatway": true }))]), &Facts::default());
    only(&findings, Severity::Warning, &["isGatway", "did you mean \\\"isGateway\\\"", "Some(0)"]);
    let mut nested = bridge("10.1.0.0/24", json!({}));
    nested["ipam"]["ranges"][0][0]["rangeBegin"] = json!("10.1.0.5");
    let findings = of_list(json!([nested.clone()]), &Facts::default());
    only(&findings, Severity::Warning, &["ipam.ranges[0][0].rangeBegin", "rangeStart"]);
    // An IPAM plugin of others, and plugins of others, may have any keys.
    nested["ipam"] = json!({ "type": "whereabouts", "range": "10.1.0.0/24" });
    assert_eq!(of_list(json!([nested, { "type": "calico", "what": "ever" }]), &Facts::default()), []);
}

#[test]
fn what_the_plugin_itself_refuses_is_an_error() {
    let findings = of_list(json!([{ "type": "bridge", "isGateway": "yes" }]), &Facts::default());
    only(&findings, Severity::Error, &["isGateway"]);
}

#[test]
fn chained_plugins_come_after_what_they_work_on() {
    let portmap = json!({ "type": "portmap", "capabilities": { "portMappings": true } });
    let findings = of_list(json!([portmap, { "type": "bridge" }]), &Facts::default());
    only(&findings, Severity::Error, &["Some(0)", "put it after bridge"]);
    only(&of_list(json!([portmap]), &Facts::default()), Severity::Error, &["none comes before it"]);
    only(
        &of_list(json!([{ "type": "bridge" }, { "type": "ptp" }]), &Facts::default()),
        Severity::Error,
        &["Some(1)", "already"],
    );
    let twice = of_list(json!([{ "type": "flannel" }, portmap, portmap]), &Facts::default());
    only(&twice, Severity::Warning, &["Some(2)", "twice"]);
}

#[test]
fn the_runtime_must_be_asked_for_what_a_plugin_needs() {
    let of = |plugin: Value| of_list(json!([{ "type": "bridge" }, plugin]), &Facts::default());
    only(&of(json!({ "type": "portmap" })), Severity::Warning, &["portMappings", "capabilities"]);
    only(&of(json!({ "type": "bandwidth" })), Severity::Warning, &["bandwidth", "limited"]);
    assert_eq!(of(json!({ "type": "bandwidth", "ingressRate": 1000 })), []);
    let misspelt = of(json!({ "type": "portmap", "capabilities": { "portMappings": true, "portmapping": true } }));
    only(&misspelt, Severity::Warning, &["capabilities.portmapping", "portMappings"]);
}

#[test]
fn subnets_of_the_node_are_not_given_out() {
    let list = || json!([bridge("10.1.0.0/16", json!({}))]);
    only(
        &of_list(list(), &with_interface("eth0", "physical", &["10.1.7.3/24"])),
        Severity::Error,
        &["eth0", "10.1.7.3/24"],
    );
    let mut facts = with_interface("eth0", "physical", &["192.0.2.1/24"]);
    let route = |dst: &str| NodeRoute { dst: dst.parse().unwrap(), interface: "tun0".to_owned() };
    facts.routes = Some(vec![route("10.0.0.0/8"), route("10.1.0.9/32")]);
    only(&of_list(list(), &facts), Severity::Warning, &["10.0.0.0/8", "tun0"]);
    assert_eq!(of_list(list(), &with_interface("br0.7", "veth", &["10.1.7.3/24"])), []);
}

#[test]
fn small_ranges_and_gateways_elsewhere_are_told() {
    only(
        &of_list(json!([bridge("10.1.0.0/29", json!({}))]), &Facts::default()),
        Severity::Warning,
        &["room for 5 pods"],
    );
    let mut plugin = bridge("10.1.0.0/24", json!({}));
    plugin["ipam"]["ranges"][0][0]["gateway"] = json!("10.2.0.1");
    only(&of_list(json!([plugin]), &Facts::default()), Severity::Note, &["10.2.0.1", "10.1.0.0/24"]);
}

#[test]
fn the_bridge_must_be_one_and_have_no_other_address() {
    let list = |keys: Value| json!([bridge("10.1.0.0/24", keys)]);
    only(&of_list(list(json!({})), &with_interface("br0", "dummy", &[])), Severity::Error, &["dummy"]);
    let facts = with_interface("br0", "bridge", &["10.9.0.1/24"]);
    only(&of_list(list(json!({})), &facts), Severity::Error, &["10.9.0.1/24", "10.1.0.1/24", "forceAddress"]);
    assert_eq!(of_list(list(json!({ "forceAddress": true })), &facts), []);
}

#[test]
fn networks_do_not_share_addresses_or_bridges() {
    let other_bridge = json!({ "bridge": "br1" });
    let same = of_pair(bridge("10.1.0.0/24", json!({})), bridge("10.1.0.0/24", json!({})));
    only(&same, Severity::Error, &["network \"a\"", "one address"]);
    let elsewhere = of_pair(bridge("10.1.0.0/24", json!({})), bridge("10.1.0.0/16", other_bridge.clone()));
    only(&elsewhere, Severity::Error, &["another bridge"]);
    only(
        &of_pair(bridge("10.1.0.0/24", json!({})), bridge("10.2.0.0/24", json!({}))),
        Severity::Error,
        &["10.1.0.1/24", "10.2.0.1/24"],
    );
    for (one, other) in [
        (bridge("10.1.0.0/24", json!({})), bridge("10.2.0.0/24", other_bridge)),
        (bridge("10.1.0.0/24", json!({})), bridge("fd01::/64", json!({}))),
        (bridge("10.1.0.0/24", json!({ "vlan": 5 })), bridge("10.2.0.0/24", json!({ "vlan": 6 }))),
    ] {
        assert_eq!(of_pair(one, other), []);
    }
    let part = |start: &str, end: &str| {
        let mut plugin = bridge("10.1.0.0/24", json!({}));
        plugin["ipam"]["ranges"][0][0]["rangeStart"] = json!(start);
        plugin["ipam"]["ranges"][0][0]["rangeEnd"] = json!(end);
        plugin
    };
    assert_eq!(of_pair(part("10.1.0.10", "10.1.0.99"), part("10.1.0.100", "10.1.0.199")), []);
}

#[test]
fn the_node_must_have_the_programs_and_the_kernel_the_features() {
    let programs = Some((PathBuf::from("/opt/cni/bin"), ["bridge", "host-locl"].map(str::to_owned).into()));
    let facts = Facts { programs, ..Facts::default() };
    let findings = of_list(json!([bridge("10.1.0.0/24", json!({}))]), &facts);
    only(&findings, Severity::Error, &["/opt/cni/bin", "ipam.type", "host-locl"]);
    let facts = Facts {
        missing: vec![(Feature::VlanFiltering, "no".into()), (Feature::NfTables, "no".into())],
        ..Facts::default()
    };
    only(&of_list(json!([{ "type": "bridge", "vlan": 5 }]), &facts), Severity::Error, &["VLAN filtering"]);
    let portmap = |backend: &str| json!([{ "type": "bridge" }, { "type": "portmap", "backend": backend, "capabilities": { "portMappings": true } }]);
    only(&of_list(portmap("nftables"), &facts), Severity::Error, &["nf_tables"]);
    only(&of_list(portmap(""), &facts), Severity::Note, &["nf_tables"]);
    assert_eq!(of_list(portmap("iptables"), &facts), []);
}

#[test]
fn forwarding_is_told_and_dropping_is_a_warning_without_the_firewall_plugin() {
    let facts = Facts { forwards_v4: Some(false), ..Facts::default() };
    only(&of_list(json!([bridge("10.1.0.0/24", json!({}))]), &facts), Severity::Note, &["IPv4"]);
    let facts = Facts { drops_forwarded: vec!["iptables' FORWARD".to_owned()], ..Facts::default() };
    only(
        &of_list(json!([bridge("10.1.0.0/24", json!({}))]), &facts),
        Severity::Warning,
        &["iptables' FORWARD", "firewall"],
    );
    assert_eq!(of_list(json!([bridge("10.1.0.0/24", json!({})), { "type": "firewall" }]), &facts), []);
}

#[test]
fn of_two_files_for_one_network_one_is_never_seen() {
    let plugins = json!([{ "type": "flannel" }]);
    let documents = [document("10-a.conflist", "n", &plugins), document("20-b.conflist", "n", &plugins)];
    let findings = |wanted: &str| check(&documents, &|file: &Path| file == Path::new(wanted), &Facts::default(), suite);
    only(&findings("10-a.conflist"), Severity::Warning, &["never sees the other", "20-b"]);
    let second = findings("20-b.conflist");
    only(&second[..1], Severity::Warning, &["never sees this one", "10-a"]);
    only(&second[1..], Severity::Note, &["10-a.conflist sorts before it"]);
    // A list counts before a single config, whatever their order.
    let single = |file: &str| Document {
        file: file.into(),
        content: Ok(json!({ "cniVersion": "1.0.0", "name": "n", "type": "flannel" }).to_string().into_bytes()),
        more: Vec::new(),
    };
    let documents = [single("05.conf"), document("10-a.conflist", "n", &plugins)];
    let findings = check(&documents, &|file| file == Path::new("05.conf"), &Facts::default(), suite);
    only(&findings, Severity::Warning, &["never sees this one"]);
}

#[test]
fn addresses_are_only_compared_within_a_family() {
    let v6: IpAddr = "fd00::1".parse().unwrap();
    let facts = with_interface("eth0", "physical", &[&format!("{v6}/64")]);
    assert_eq!(of_list(json!([bridge("10.1.0.0/24", json!({}))]), &facts), []);
    only(&of_list(json!([bridge("fd00::/48", json!({}))]), &facts), Severity::Error, &["fd00::1/64"]);
}
