//! The firewall plugin: what passes and what does not, seen by packets; and that its rules are found again and removed.

use std::net::IpAddr;
use std::process::Command;

use podlink_tests::{BinDir, Call, Namespace, Node, Output, Outside, Pod, conf, need};
use serde_json::{Value, json};

const V4: &str = "10.1.0.0/24";
const V6: &str = "fd00:1::/64";
/// What the config may say; the third is that nothing is said, on a node where nothing but us filters.
const BACKENDS: [&str; 3] = ["nftables", "iptables", ""];

/// The network that has the bridge `bridge`, and what its pods' firewall is told.
#[derive(Clone)]
struct Net {
    bridge: Value,
    firewall: Value,
}

impl Net {
    fn new(firewall: Value) -> Net {
        Net::on("cni0", &[V4, V6], firewall)
    }

    fn on(bridge: &str, subnets: &[&str], firewall: Value) -> Net {
        let keys = json!({ "name": format!("net-{bridge}"), "bridge": bridge, "isDefaultGateway": true });
        let name = json!({ "cniVersion": "1.1.0", "name": format!("net-{bridge}"), "type": "firewall" });
        Net { bridge: conf::gateway(subnets, keys), firewall: conf::with(name, firewall) }
    }

    /// Gives the pod its interface, and returns the result.
    #[track_caller]
    fn wire(&self, node: &Node, pod: &Pod) -> Value {
        let result = node.typed(&self.bridge).pod(pod).add().success();
        (0..2).for_each(|index| node.ping(address(&result, index)));
        result
    }

    /// A call of our firewall about a pod with this result.
    fn call<'n>(&self, node: &'n Node, pod: &Pod, result: &Value) -> Call<'n> {
        node.typed(&self.firewall).pod(pod).prev_result(result)
    }

    /// A pod with an interface and with its firewall rules.
    #[track_caller]
    fn attach<'n>(&self, node: &'n Node, name: &str) -> Member<'n> {
        let pod = node.pod(name);
        let result = self.wire(node, &pod);
        let call = self.call(node, &pod, &result);
        assert_eq!(call.add().success(), result, "the previous result is passed on");
        Member { pod, result, call }
    }
}

struct Member<'n> {
    pod: Pod,
    result: Value,
    call: Call<'n>,
}

impl Member<'_> {
    fn v4(&self) -> IpAddr {
        address(&self.result, 0)
    }

    fn v6(&self) -> IpAddr {
        address(&self.result, 1)
    }
}

fn address(result: &Value, index: usize) -> IpAddr {
    let text = result["ips"][index]["address"].as_str().unwrap();
    text.split('/').next().unwrap().parse().unwrap()
}

/// Whether an echo request sent from here is answered.
#[track_caller]
fn reaches(from: &Namespace, to: IpAddr) -> bool {
    // Time enough for a first neighbour solicitation that is lost.
    answered(from, to, "5")
}

/// Whether none is. Of use only after the ends have reached the node: what is slow must not pass for what is dropped.
#[track_caller]
fn cut_off(from: &Namespace, to: IpAddr) -> bool {
    !answered(from, to, "1")
}

#[track_caller]
fn answered(from: &Namespace, to: IpAddr, seconds: &str) -> bool {
    let mut ping = Command::new(need::tool("ping"));
    let finished = from.finish(ping.args(["-n", "-c", "1", "-W", seconds, &to.to_string()]), b"");
    match finished.code {
        Some(0) => true,
        Some(1) => false,
        _ => panic!("{finished}"),
    }
}

/// A host beyond the node that knows the way to the pods.
fn outside_of(node: &Node) -> Outside {
    let outside = Outside::of(node);
    for (network, via) in [("10.0.0.0/8", 0), ("fd00::/16", 1)] {
        outside.sh(&["ip", "route", "add", network, "via", podlink_tests::outside::NODE[via]]);
        node.ping(outside_address(via));
    }
    outside
}

fn outside_address(index: usize) -> IpAddr {
    podlink_tests::outside::OUTSIDE[index].parse().unwrap()
}

/// The elements of one of our sets with their owners, as nft lists them; none where there is no such set.
fn elements(node: &Node, family: &str, set: &str) -> Vec<Value> {
    let mut nft = Command::new(need::tool("nft"));
    let listed = node.finish(nft.args(["-j", "list", "set", family, "podlink_filter", set]), b"");
    if listed.code != Some(0) {
        return Vec::new();
    }
    let listed: Value = serde_json::from_str(&listed.stdout).unwrap();
    let set = listed["nftables"].as_array().unwrap().iter().find_map(|object| object.get("set")).unwrap();
    set["elem"].as_array().cloned().unwrap_or_default()
}

/// Every element of every set of ours.
fn all_elements(node: &Node) -> Vec<Value> {
    let sets = ["pods4", "pods6", "members", "fenced", "same_bridge", "isolated"].map(|set| ("inet", set));
    let sets = sets.into_iter().chain([("bridge", "isolated")]);
    sets.flat_map(|(family, set)| elements(node, family, set)).collect()
}

/// iptables of one make: the programs by their own names, and a PATH in which they are the default.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Make {
    Nft,
    Legacy,
}

impl Make {
    fn sh(self, node: &Node, family: &str, line: &[&str]) -> String {
        let program = match self {
            Make::Nft => format!("{family}-nft"),
            Make::Legacy => format!("{family}-legacy"),
        };
        node.sh(&[&[program.as_str(), "-w"], line].concat())
    }

    /// The rules of a chain of the filter table; none where there is no such chain.
    fn rules(self, node: &Node, family: &str, chain: &str) -> Vec<String> {
        let program = match self {
            Make::Nft => format!("{family}-nft-save"),
            Make::Legacy => format!("{family}-legacy-save"),
        };
        let saved = node.sh(&[&program, "-t", "filter"]);
        saved.lines().filter_map(|line| line.strip_prefix(&format!("-A {chain} "))).map(str::to_owned).collect()
    }

    /// The call with this make as the node's default.
    fn of<'n>(self, node: &Node, call: Call<'n>) -> Call<'n> {
        let multi = match self {
            Make::Nft => "/usr/sbin/xtables-nft-multi",
            Make::Legacy => "/usr/sbin/xtables-legacy-multi",
        };
        let dir = node.dir().join("iptables");
        std::fs::create_dir_all(&dir).unwrap();
        for name in
            ["", "-save", "-restore"].iter().flat_map(|end| [format!("iptables{end}"), format!("ip6tables{end}")])
        {
            // Made by whoever is first.
            let _ = std::os::unix::fs::symlink(multi, dir.join(name));
        }
        call.env("PATH", format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", dir.display()))
    }
}

#[test]
fn where_forward_drops_the_pods_traffic_passes_until_del() {
    for make in [Make::Nft, Make::Legacy] {
        let node = Node::new();
        let outside = outside_of(&node);
        for family in ["iptables", "ip6tables"] {
            make.sh(&node, family, &["-P", "FORWARD", "DROP"]);
        }
        let net = Net::new(json!({}));
        let pod = node.pod("a");
        let result = net.wire(&node, &pod);
        let (v4, v6) = (address(&result, 0), address(&result, 1));
        assert!(cut_off(&pod, outside_address(0)) && cut_off(&pod, outside_address(1)), "{make:?} drops");

        let call = make.of(&node, net.call(&node, &pod, &result));
        call.add().success();
        for (index, own) in [v4, v6].into_iter().enumerate() {
            let to = outside_address(index);
            assert_eq!(pod.tcp(&outside, to), Ok(own), "{make:?}");
            assert_eq!(pod.udp(&outside, to), Ok(own), "{make:?}");
            assert!(reaches(&pod, to), "{make:?}");
            // As with the reference: from outside only what belongs to a connection.
            assert!(cut_off(&outside, own), "{make:?}");
        }
        call.check().success();
        call.del().success();
        assert!(cut_off(&pod, outside_address(0)) && cut_off(&pod, outside_address(1)), "{make:?} drops again");
        for family in ["iptables", "ip6tables"] {
            assert_eq!(make.rules(&node, family, "CNI-FORWARD").len(), 1, "only the jump to CNI-ADMIN is left");
        }
        assert_eq!(all_elements(&node), [json!(null); 0]);
    }
}

#[test]
fn where_nothing_drops_there_is_no_process_and_no_rule_for_a_pod() {
    let node = Node::new();
    let outside = outside_of(&node);
    let net = Net::new(json!({}));
    let first = net.attach(&node, "a");
    let before = node.sh(&["nft", "list", "chain", "inet", "podlink_filter", "forward"]);
    let second = net.attach(&node, "b");
    assert_eq!(node.sh(&["nft", "list", "chain", "inet", "podlink_filter", "forward"]), before);
    assert_eq!(node.sh(&["nft", "list", "tables"]), "table inet podlink_filter\n");
    assert_eq!((elements(&node, "inet", "pods4").len(), elements(&node, "inet", "pods6").len()), (2, 2));
    for (index, own) in [first.v4(), first.v6()].into_iter().enumerate() {
        assert!(reaches(&first.pod, outside_address(index)) && reaches(&outside, own));
    }
    for verb in ["ADD", "CHECK", "DEL", "DEL"] {
        let plugin = second.call.command(verb);
        let mut strace = Command::new(need::tool("strace"));
        strace.args(["-f", "-qqq", "-e", "trace=execve,execveat"]).arg(plugin.get_program()).env_clear();
        strace.envs(plugin.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let traced = node.finish(&mut strace, second.call.input());
        assert_eq!((traced.code, traced.stderr.matches("exec").count()), (Some(0), 1), "{verb}: {traced}");
    }
    assert_eq!(elements(&node, "inet", "pods4").len(), 1);
}

#[test]
fn our_own_chain_can_be_closed_for_all_but_pods() {
    let node = Node::new();
    let outside = outside_of(&node);
    let net = Net::new(json!({ "backend": "nftables" }));
    let member = net.attach(&node, "a");
    node.sh(&["nft", "add chain inet podlink_filter forward { policy drop; }"]);
    let stranger = node.pod("b");
    let result = net.wire(&node, &stranger);
    assert!(reaches(&member.pod, outside_address(0)) && cut_off(&outside, member.v4()));
    assert!(cut_off(&stranger, outside_address(0)));
    // Neither a repeated ADD nor another pod takes the administrator's policy and rules away.
    node.sh(&["nft", "add rule inet podlink_filter admin ip saddr 192.0.2.2 accept"]);
    member.call.add().success();
    net.call(&node, &stranger, &result).add().success();
    assert!(reaches(&stranger, outside_address(0)) && reaches(&outside, member.v4()));
    let listed = node.sh(&["nft", "list", "chain", "inet", "podlink_filter", "forward"]);
    assert!(listed.contains("policy drop"), "{listed}");
    member.call.check().success();
}

/// Two pods on each of three bridges; the third has no policy.
fn fenced<'n>(node: &'n Node, backend: &str, policy: &str) -> (Vec<Member<'n>>, Vec<Member<'n>>, Member<'n>) {
    let keys = json!({ "backend": backend, "ingressPolicy": policy });
    let a = Net::on("br-a", &["10.1.0.0/24", "fd00:1::/64"], keys.clone());
    let b = Net::on("br-b", &["10.2.0.0/24", "fd00:2::/64"], keys);
    let c = Net::on("br-c", &["10.3.0.0/24", "fd00:3::/64"], json!({ "backend": backend }));
    let attach = |net: &Net, names: [&str; 2]| names.map(|name| net.attach(node, name)).into_iter().collect();
    (attach(&a, ["a1", "a2"]), attach(&b, ["b1", "b2"]), c.attach(node, "c1"))
}

fn both(member: &Member<'_>) -> [IpAddr; 2] {
    [member.v4(), member.v6()]
}

fn same_bridge(backend: &str) {
    let node = Node::new();
    let outside = outside_of(&node);
    let (a, b, open) = fenced(&node, backend, "same-bridge");
    for index in 0..2 {
        assert!(reaches(&a[0].pod, both(&a[1])[index]) && reaches(&b[0].pod, both(&b[1])[index]), "{backend}");
        assert!(cut_off(&a[0].pod, both(&b[0])[index]) && cut_off(&b[1].pod, both(&a[0])[index]), "{backend}");
        assert!(reaches(&a[0].pod, outside_address(index)) && reaches(&outside, both(&a[0])[index]), "{backend}");
        // A bridge without a policy is open, and the others are open to it.
        assert!(reaches(&a[0].pod, both(&open)[index]) && reaches(&open.pod, both(&b[0])[index]), "{backend}");
    }
    for member in a.iter().chain(&b).chain([&open]) {
        member.call.check().success();
    }
    // The fence stands until the bridge's last pod is gone.
    a[1].call.del().success();
    assert!(cut_off(&b[0].pod, a[0].v4()), "{backend}");
    assert_eq!(elements(&node, "inet", "fenced").len(), 2);
    for member in a.iter().chain(&b).chain([&open]) {
        member.call.del().success();
    }
    assert_eq!(all_elements(&node), [json!(null); 0], "{backend}");
}

#[test]
fn same_bridge_keeps_bridges_apart_natively() {
    same_bridge("nftables");
}

#[test]
fn same_bridge_keeps_bridges_apart_with_iptables() {
    same_bridge("iptables");
}

#[test]
fn same_bridge_keeps_bridges_apart_by_default() {
    same_bridge("");
}

fn isolated(backend: &str) {
    let node = Node::new();
    let outside = outside_of(&node);
    let (a, b, open) = fenced(&node, backend, "isolated");
    for index in 0..2 {
        assert!(cut_off(&a[0].pod, both(&a[1])[index]) && cut_off(&b[1].pod, both(&b[0])[index]), "{backend}");
        assert!(cut_off(&a[0].pod, both(&b[0])[index]), "{backend}");
        let gateway = a[0].result["ips"][index]["gateway"].as_str().unwrap().parse().unwrap();
        assert!(reaches(&a[0].pod, gateway) && reaches(&node, both(&a[0])[index]), "{backend}");
        assert!(reaches(&a[0].pod, outside_address(index)) && reaches(&outside, both(&a[0])[index]), "{backend}");
        assert!(reaches(&open.pod, both(&b[0])[index]), "{backend}");
    }
    for member in a.iter().chain(&b).chain([&open]) {
        member.call.check().success();
        member.call.del().success();
    }
    assert_eq!(all_elements(&node), [json!(null); 0], "{backend}");
}

#[test]
fn isolated_keeps_pods_apart_natively() {
    isolated("nftables");
}

#[test]
fn isolated_keeps_pods_apart_with_iptables() {
    isolated("iptables");
}

#[test]
fn a_pod_in_a_vlan_is_fenced_by_its_gateways_interface() {
    // No VLAN filtering on this machine: the result of the bridge plugin as it would be.
    let node = Node::new();
    let pod = node.pod("a");
    let net = Net::new(json!({ "ingressPolicy": "isolated" }));
    let result = json!({
        "cniVersion": "1.1.0",
        "interfaces": [
            { "name": "cni0" }, { "name": "veth1" }, { "name": "eth0", "sandbox": "/run/netns/a" }, { "name": "cni0.100" },
        ],
        "ips": [{ "address": "10.1.0.2/24", "interface": 2 }],
    });
    net.call(&node, &pod, &result).add().success();
    let names = |family, set| {
        let mut names: Vec<String> = elements(&node, family, set)
            .iter()
            .map(|e| e["elem"]["val"].as_str().or(e.as_str()).unwrap().to_owned())
            .collect();
        names.sort();
        names
    };
    assert_eq!(names("inet", "fenced"), ["cni0", "cni0.100"]);
    assert_eq!(names("bridge", "isolated"), ["veth1"], "the gateway's port is not cut off");
}

#[test]
fn add_twice_is_add_once_and_del_twice_is_del_once() {
    for backend in BACKENDS {
        for policy in ["open", "isolated"] {
            let node = Node::new();
            let member = Net::new(json!({ "backend": backend, "ingressPolicy": policy })).attach(&node, "a");
            let rules = || {
                ["iptables-save", "ip6tables-save", "nft"].map(|tool| match tool {
                    "nft" => node.sh(&["nft", "-s", "list", "ruleset", "inet"]),
                    save => without_counts(&node.sh(&[save, "-t", "filter"])),
                })
            };
            let once = rules();
            member.call.add().success();
            assert_eq!(rules(), once, "{backend} {policy}");
            member.call.check().success();
            member.call.del().success();
            let gone = rules();
            member.call.del().success();
            assert_eq!(rules(), gone, "{backend} {policy}");
            assert_eq!(all_elements(&node), [json!(null); 0]);
            let text = gone.concat();
            assert!(!text.contains(&member.v4().to_string()) && !text.contains(&member.v6().to_string()), "{text}");
            assert!(member.call.check().failure().text.contains("has changed"));
        }
    }
}

/// The output of `iptables-save` but for its comments and counters.
fn without_counts(saved: &str) -> String {
    let lines = saved.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.split(" [").next().unwrap_or_default().to_owned() + "\n").collect()
}

#[test]
fn del_needs_neither_result_nor_namespace_nor_a_sane_config() {
    for backend in BACKENDS {
        let node = Node::new();
        let member = Net::new(json!({ "backend": backend, "ingressPolicy": "same-bridge" })).attach(&node, "a");
        let other = Net::new(json!({ "backend": backend, "ingressPolicy": "same-bridge" })).attach(&node, "b");
        let (v4, id) = (member.v4().to_string(), member.pod.destroy());
        let config = json!({ "cniVersion": "1.1.0", "name": "net-cni0", "type": "firewall", "backend": "gone" });
        node.typed(&config).pod(&id).without("CNI_NETNS").del().success();
        let saved = node.sh(&["iptables-save", "-t", "filter"]);
        assert!(!saved.contains(&format!("{v4}/32")), "{backend}: {saved}");
        assert_eq!((elements(&node, "inet", "pods4").len(), elements(&node, "inet", "pods6").len()), (1, 1));
        other.call.check().success();
    }
}

#[test]
fn gc_removes_what_no_valid_attachment_of_the_network_owns() {
    for backend in BACKENDS {
        let node = Node::new();
        let keys = json!({ "backend": backend, "ingressPolicy": "same-bridge" });
        let net = Net::new(keys.clone());
        let [kept, lost] = ["a", "b"].map(|name| net.attach(&node, name));
        let elsewhere = Net::on("br9", &["10.9.0.0/24", "fd00:9::/64"], keys).attach(&node, "c");
        let valid = json!([{ "containerID": "pod-a", "ifname": "eth0" }]);
        let config = conf::with(net.firewall.clone(), json!({ "cni.dev/valid-attachments": valid }));
        for _ in 0..2 {
            node.typed(&config).run("GC").success();
        }
        kept.call.check().success();
        elsewhere.call.check().success();
        assert!(lost.call.check().failure().text.contains(&lost.v4().to_string()));
        assert!(!node.sh(&["iptables-save", "-t", "filter"]).contains(&format!("{}/32", lost.v4())), "{backend}");
        assert_eq!(elements(&node, "inet", "fenced").len(), 2);
        // With no valid attachment left, the bridge's fence goes too.
        let config = conf::with(net.firewall.clone(), json!({ "cni.dev/valid-attachments": [] }));
        node.typed(&config).run("GC").success();
        assert_eq!((elements(&node, "inet", "pods4").len(), elements(&node, "inet", "fenced").len()), (1, 1));
    }
}

#[test]
fn check_finds_each_drift_of_ours_and_add_repairs_it() {
    let node = Node::new();
    let member = Net::new(json!({ "backend": "nftables", "ingressPolicy": "isolated" })).attach(&node, "a");
    let (v4, port) = (member.v4().to_string(), member.result["interfaces"][1]["name"].as_str().unwrap().to_owned());
    member.call.check().success();
    for drift in [
        format!("delete element inet podlink_filter pods4 {{ {v4} }}"),
        format!(
            "delete element inet podlink_filter pods4 {{ {v4} }}; add element inet podlink_filter pods4 {{ {v4} comment \"podlink:x/y/z\" }}"
        ),
        "flush set inet podlink_filter pods6".to_owned(),
        "flush set inet podlink_filter members".to_owned(),
        "flush set inet podlink_filter fenced".to_owned(),
        "flush set inet podlink_filter isolated".to_owned(),
        format!("delete element bridge podlink_filter isolated {{ {port} }}"),
        "flush chain inet podlink_filter forward".to_owned(),
        "add rule inet podlink_filter forward accept".to_owned(),
        "insert rule inet podlink_filter ingress return".to_owned(),
        "flush chain bridge podlink_filter forward".to_owned(),
        "delete table bridge podlink_filter".to_owned(),
        "delete table inet podlink_filter".to_owned(),
    ] {
        node.sh(&["nft", &drift]);
        let error = member.call.check().failure();
        assert!(error.text.contains("podlink_filter") && error.text.contains("has changed"), "{drift}: {}", error.text);
        member.call.add().success();
        member.call.check().success();
    }
}

#[test]
fn check_finds_each_drift_in_iptables_and_add_repairs_it() {
    for make in [Make::Nft, Make::Legacy] {
        let node = Node::new();
        let net = Net::new(json!({ "backend": "iptables", "ingressPolicy": "isolated" }));
        let pod = node.pod("a");
        let result = net.wire(&node, &pod);
        let call = make.of(&node, net.call(&node, &pod, &result));
        call.add().success();
        call.check().success();
        let (v4, v6) = (format!("{}/32", address(&result, 0)), format!("{}/128", address(&result, 1)));
        let fence = "CNI firewall plugin rules (ingressPolicy: same-bridge)";
        for (family, lines) in [
            ("iptables", vec![vec!["-D", "CNI-FORWARD", "-s", &v4, "-j", "ACCEPT"]]),
            (
                "ip6tables",
                vec![vec![
                    "-D",
                    "CNI-FORWARD",
                    "-d",
                    &v6,
                    "-m",
                    "conntrack",
                    "--ctstate",
                    "RELATED,ESTABLISHED",
                    "-j",
                    "ACCEPT",
                ]],
            ),
            ("iptables", vec![vec!["-D", "CNI-FORWARD", "1"]]),
            ("iptables", vec![vec!["-F", "FORWARD"]]),
            ("ip6tables", vec![vec!["-F", "CNI-ISOLATION-STAGE-1"]]),
            ("iptables", vec![vec!["-F", "CNI-ISOLATION-STAGE-2"]]),
            // The fences behind the rules that accept.
            (
                "iptables",
                vec![
                    vec!["-D", "FORWARD", "-m", "comment", "--comment", fence, "-j", "CNI-ISOLATION-STAGE-1"],
                    vec!["-A", "FORWARD", "-m", "comment", "--comment", fence, "-j", "CNI-ISOLATION-STAGE-1"],
                ],
            ),
            ("iptables", vec![vec!["-F"], vec!["-X"]]),
        ] {
            for line in &lines {
                make.sh(&node, family, line);
            }
            let error = call.check().failure();
            assert!(error.text.contains("filter table of"), "{make:?} {lines:?}: {}", error.text);
            call.add().success();
            call.check().success();
        }
        let order = make.rules(&node, "iptables", "FORWARD");
        assert!(order[0].ends_with("CNI-ISOLATION-STAGE-1") && order[1].ends_with("CNI-FORWARD"), "{order:?}");
        assert_eq!(order.len(), 2, "{order:?}");
    }
}

#[test]
fn a_forward_chain_that_starts_to_drop_is_drift() {
    let node = Node::new();
    let member = Net::new(json!({})).attach(&node, "a");
    member.call.check().success();
    node.sh(&["iptables-nft", "-P", "FORWARD", "DROP"]);
    assert!(member.call.check().failure().text.contains("the filter table of iptables"));
    member.call.add().success();
    member.call.check().success();
}

/// Runs all calls at the same time.
fn at_once(calls: &[(&str, &Call<'_>)]) -> Vec<Output> {
    std::thread::scope(|scope| {
        let running: Vec<_> = calls.iter().map(|(verb, call)| scope.spawn(|| call.run(verb))).collect();
        running.into_iter().map(|call| call.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    })
}

#[test]
fn twenty_at_once_leave_nothing_and_double_nothing() {
    for (backend, make) in [("nftables", Make::Nft), ("iptables", Make::Nft), ("iptables", Make::Legacy)] {
        let node = Node::new();
        let net = Net::new(json!({ "backend": backend, "ingressPolicy": "same-bridge" }));
        let pods: Vec<Pod> = (0..20).map(|i| node.pod(&format!("p{i}"))).collect();
        let results: Vec<Value> = pods.iter().map(|pod| net.wire(&node, pod)).collect();
        let calls = pods.iter().zip(&results).map(|(pod, result)| make.of(&node, net.call(&node, pod, result)));
        let calls: Vec<Call<'_>> = calls.collect();
        let all = |verb| calls.iter().map(|call| (verb, call)).collect::<Vec<_>>();
        at_once(&all("ADD")).iter().for_each(|output| drop(output.success()));
        at_once(&all("CHECK")).iter().for_each(|output| drop(output.success()));
        assert_eq!((elements(&node, "inet", "pods4").len(), elements(&node, "inet", "fenced").len()), (20, 1));
        if backend == "iptables" {
            for family in ["iptables", "ip6tables"] {
                assert_eq!(
                    make.rules(&node, family, "CNI-FORWARD").len(),
                    41,
                    "two for each pod, one for the administrator"
                );
                assert_eq!(make.rules(&node, family, "FORWARD").len(), 2);
                assert_eq!(make.rules(&node, family, "CNI-ISOLATION-STAGE-1").len(), 2);
            }
        }
        // Half go while they are added again, then all go, each twice.
        let mixed: Vec<_> = calls.iter().enumerate().map(|(i, call)| (["ADD", "DEL"][i % 2], call)).collect();
        at_once(&mixed).iter().for_each(|output| drop(output.success()));
        assert_eq!((elements(&node, "inet", "pods4").len(), elements(&node, "inet", "fenced").len()), (10, 1));
        at_once(&[all("DEL"), all("DEL")].concat()).iter().for_each(|output| drop(output.success()));
        assert_eq!(all_elements(&node), [json!(null); 0], "{backend} {make:?}");
        if backend == "iptables" {
            for family in ["iptables", "ip6tables"] {
                assert_eq!(make.rules(&node, family, "CNI-FORWARD").len(), 1, "{make:?} {family}");
            }
        }
    }
}

#[test]
fn what_the_reference_made_is_checked_and_removed_and_the_other_way_round() {
    for make in [Make::Nft, Make::Legacy] {
        let node = Node::new();
        let keys = json!({ "cniVersion": "1.0.0", "ingressPolicy": "same-bridge" });
        let net = Net::new(conf::with(keys, json!({})));
        let config = conf::with(net.firewall.clone(), json!({ "cniVersion": "1.0.0", "backend": "iptables" }));
        let pods = ["a", "b", "c"].map(|name| node.pod(name));
        let results = pods.each_ref().map(|pod| {
            let bridge = conf::with(net.bridge.clone(), json!({ "cniVersion": "1.0.0" }));
            node.typed(&bridge).pod(pod).add().success()
        });
        let theirs = |i: usize| {
            let call = node.plugin(&BinDir::reference(), "firewall").config(&config).pod(&pods[i]);
            make.of(&node, call.prev_result(&results[i]))
        };
        let ours = |i: usize| make.of(&node, node.typed(&config).pod(&pods[i]).prev_result(&results[i]));
        let rules = || {
            let chains = ["FORWARD", "CNI-FORWARD", "CNI-ISOLATION-STAGE-1", "CNI-ISOLATION-STAGE-2"];
            ["iptables", "ip6tables"].map(|family| chains.map(|chain| make.rules(&node, family, chain)))
        };
        // The same rules in the same order.
        theirs(0).add().success();
        let made_by_them = rules();
        theirs(0).del().success();
        for family in ["iptables", "ip6tables"] {
            make.sh(&node, family, &["-F"]);
            make.sh(&node, family, &["-X"]);
        }
        ours(0).add().success();
        assert_eq!(rules(), made_by_them, "{make:?}");

        // They find ours good, and remove it; we remove theirs, in a config that names no backend.
        theirs(0).check().success();
        theirs(1).add().success();
        let upgraded = conf::with(config.clone(), json!({ "backend": null }));
        make.of(&node, node.typed(&upgraded).pod(&pods[2]).prev_result(&results[2])).add().success();
        assert_eq!(rules()[0][1].len(), 7, "pod c joins the rest in iptables");
        theirs(0).del().success();
        make.of(&node, node.typed(&upgraded).pod(&pods[1]).prev_result(&results[1])).del().success();
        let left = rules();
        assert_eq!((left[0][1].len(), left[1][1].len()), (3, 3), "{make:?}: only pod c's are left: {left:?}");
        // What they left of ours goes when ours is asked, too.
        ours(0).del().success();
        ours(2).del().success();
        assert_eq!(all_elements(&node), [json!(null); 0]);
    }
}

#[test]
fn an_address_belongs_to_the_pod_that_got_it_last() {
    for backend in BACKENDS {
        let node = Node::new();
        let net = Net::new(json!({ "backend": backend, "ingressPolicy": "same-bridge" }));
        let first = net.attach(&node, "a");
        // The first pod is deleted only after its address was given to another.
        let heir = node.pod("b");
        let heir = net.call(&node, &heir, &first.result);
        heir.add().success();
        first.call.del().success();
        heir.check().success();
        heir.del().success();
        assert_eq!(all_elements(&node), [json!(null); 0]);
        assert!(!node.sh(&["iptables-save", "-t", "filter"]).contains(&first.v4().to_string()), "{backend}");
    }
}

#[test]
fn a_killed_add_or_del_is_cleaned_by_the_next_del() {
    for (verb, nth) in ["ADD", "DEL"].into_iter().flat_map(|verb| (1..=12).map(move |nth| (verb, nth))) {
        let node = Node::new();
        let member = Net::new(json!({ "backend": "iptables", "ingressPolicy": "isolated" })).attach(&node, "a");
        if verb == "ADD" {
            member.call.del().success();
        }
        let plugin = member.call.command(verb);
        let mut strace = Command::new(need::tool("strace"));
        strace.args(["-f", "-qqq", "-o", "/dev/null", "-e", "trace=sendto,clone3,wait4,vfork"]);
        strace.args(["-e", &format!("inject=sendto,clone3,wait4,vfork:signal=SIGKILL:when={nth}")]);
        strace.arg(plugin.get_program()).env_clear();
        strace.envs(plugin.get_envs().filter_map(|(name, value)| Some((name, value?))));
        node.finish(&mut strace, member.call.input());
        // Without the result: the record alone must tell.
        let config = json!({ "cniVersion": "1.1.0", "name": "net-cni0", "type": "firewall" });
        node.typed(&config).pod(&member.pod).del().success();
        let saved = node.sh(&["iptables-save", "-t", "filter"]) + &node.sh(&["ip6tables-save", "-t", "filter"]);
        assert!(!saved.contains("10.1.0.") && !saved.contains("fd00:1::"), "{verb} killed at {nth}: {saved}");
        assert_eq!(all_elements(&node), [json!(null); 0], "{verb} killed at {nth}");
    }
}

#[test]
fn every_version_of_the_specification() {
    for version in ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"] {
        let node = Node::new();
        let net = Net::new(json!({}));
        let bridge = conf::with(net.bridge.clone(), json!({ "cniVersion": version }));
        let pod = node.pod("a");
        let result = node.typed(&bridge).pod(&pod).add().success();
        let config = conf::with(net.firewall.clone(), json!({ "cniVersion": version }));
        let call = node.typed(&config).pod(&pod).prev_result(&result);
        assert_eq!(call.add().success(), result, "{version}");
        assert_eq!(
            (elements(&node, "inet", "pods4").len(), elements(&node, "inet", "pods6").len()),
            (1, 1),
            "{version}"
        );
        if version >= "0.4.0" {
            call.check().success();
        }
        if version >= "1.1.0" {
            node.typed(&config).run("STATUS").success();
        }
        call.del().success();
        assert_eq!(all_elements(&node), [json!(null); 0], "{version}");
    }
}

#[test]
fn bad_input_names_the_key_and_changes_nothing() {
    let node = Node::new();
    let net = Net::new(json!({}));
    let pod = node.pod("a");
    let result = net.wire(&node, &pod);
    let without_node_end = json!({ "cniVersion": "1.1.0", "ips": [{ "address": "10.1.0.2/24" }] });
    let long = "n".repeat(240);
    for (keys, result, key) in [
        (json!({ "backend": "ipfw" }), Some(&result), "backend"),
        (json!({ "backend": "firewalld" }), Some(&result), "firewalld"),
        (json!({ "ingressPolicy": "closed" }), Some(&result), "ingressPolicy"),
        (json!({ "ingressPolicy": "same-bridge" }), Some(&without_node_end), "ingressPolicy"),
        (json!({ "iptablesAdminChainName": "a b" }), Some(&result), "iptablesAdminChainName"),
        (json!({}), None, "prevResult"),
        (json!({ "name": long }), Some(&result), "too long"),
    ] {
        let call = node.typed(&conf::with(net.firewall.clone(), keys.clone())).pod(&pod);
        let call = result.map_or(call.clone(), |result| call.clone().prev_result(result));
        let error = call.add().failure();
        assert!(error.text.contains(key), "{keys}: {}", error.text);
        assert_eq!(all_elements(&node), [json!(null); 0], "{keys}");
        assert_eq!(node.sh(&["nft", "list", "tables"]), "", "{keys}");
        call.del().success();
    }
    for (keys, key) in [(json!({ "backend": "ipfw" }), "backend"), (json!({ "backend": "firewalld" }), "firewalld")] {
        let error = node.typed(&conf::with(net.firewall.clone(), keys)).run("STATUS").failure();
        assert!(error.code == 50 && error.text.contains(key), "{error:?}");
    }
}

#[test]
fn a_result_without_addresses_is_passed_on() {
    let node = Node::new();
    let pod = node.pod("a");
    let result = json!({ "cniVersion": "1.1.0", "interfaces": [{ "name": "cni0" }], "dns": {} });
    let net = Net::new(json!({}));
    assert_eq!(net.call(&node, &pod, &result).add().success(), result);
    assert_eq!(node.sh(&["nft", "list", "tables"]), "");
}
