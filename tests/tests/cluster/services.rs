//! Services over our pods, by the rules of kube-proxy's two modes.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::slice::from_ref;
use std::time::Duration;

use podlink_tests::cluster::answering::Answer;
use podlink_tests::cluster::{Answering, Cluster, FAMILIES, Joined, Mode, OUTSIDE, Plan, Service, WiredPod, at, ip};
use podlink_tests::traffic::LOST;
use podlink_tests::{BinDir, Namespace, conf};
use serde_json::{Value, json};

/// How long a connection that must not come about is waited for.
const BLOCKED: Duration = Duration::from_millis(400);
/// Long enough to send the first packet of a connection twice.
const ONE_LOST: Duration = Duration::from_millis(1500);
/// The port of the Service on every node, and its addresses of a load balancer.
const NODE_PORT: u16 = 30080;
const BALANCED: [&str; 2] = ["198.51.100.10", "2001:db8:1b::10"];

/// Three nodes; the Service's pods are w1 and w2 on the first, w3 on the second; pods that ask are `near` on the first and `far`
/// on the third, which has none of the Service's.
struct Ground {
    cluster: Cluster,
    near: WiredPod,
    far: WiredPod,
    web: Vec<(usize, WiredPod)>,
    servers: Vec<Answering>,
    mode: Mode,
}

impl Ground {
    fn new(mode: Mode) -> Self {
        Self::of(mode, &Plan { joined: Joined::Vxlan, ..Plan::default() })
    }

    fn of(mode: Mode, plan: &Plan) -> Self {
        let cluster = Cluster::new(plan);
        let [first, second, third] = &cluster.nodes[..] else { panic!("three nodes") };
        let web: Vec<_> =
            [(first, "w1"), (first, "w2"), (second, "w3")].map(|(n, name)| (n.number, n.wire(name))).into();
        let servers = web.iter().map(|(_, pod)| Answering::start(pod, &pod.name, 8080)).collect();
        let (near, far) = (first.wire("near"), third.wire("far"));
        Self { near, far, web, servers, mode, cluster }
    }

    /// The Service `web`, port 80, to port 8080 of all its pods.
    fn web(&self) -> Service {
        let pods: Vec<(usize, &WiredPod)> = self.web.iter().map(|(node, pod)| (*node, pod)).collect();
        Service::tcp("web", 80, 80).to(&pods, 8080)
    }

    /// The same, reachable from outside.
    fn open(&self) -> Service {
        Service { node_port: Some(NODE_PORT), load_balancer: Some(BALANCED.map(ip)), ..self.web() }
    }

    fn serve(&self, services: &[Service]) {
        self.cluster.serve(self.mode, services);
    }

    /// The number of the node that the pod `name` of the Service is on.
    fn home(&self, name: &str) -> usize {
        self.web.iter().find(|(_, pod)| pod.name == name).map_or(0, |(node, _)| *node)
    }

    /// The source of what the node itself sends to the pod `name`.
    fn node_as_seen(&self, node: usize, name: &str, family: usize) -> IpAddr {
        let member = &self.cluster.nodes[node - 1];
        if self.home(name) == node {
            return ip(&member.gateways()[family]);
        }
        // The address of the tunnel's device.
        ip(&[format!("10.244.{node}.0"), format!("fd00:244:{node}::")][family])
    }
}

/// A Service's own port 80.
fn cluster_ip(service: &Service, family: usize) -> SocketAddr {
    (service.cluster_ip[family], service.port).into()
}

/// How often each server answered.
fn count(answers: impl Iterator<Item = Answer>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    answers.for_each(|answer| *counts.entry(answer.name).or_default() += 1);
    counts
}

fn a_cluster_ip_is_reached_from_pods_with_their_own_address_and_from_nodes(mode: Mode) {
    let ground = Ground::new(mode);
    let web = ground.web();
    ground.serve(from_ref(&web));
    for family in FAMILIES {
        let to = cluster_ip(&web, family);
        for pod in [&ground.near, &ground.far] {
            // Often enough that neighbours and pods of another node answer.
            for _ in 0..12 {
                let answer = pod.who(to).unwrap_or_else(|e| panic!("{mode:?}, from {}: {e}", pod.name));
                assert_eq!(answer.peer, pod.addresses[family], "{mode:?}, from {}", pod.name);
            }
        }
        for node in &ground.cluster.nodes {
            for _ in 0..6 {
                let answer = node.who(to).unwrap_or_else(|e| panic!("{mode:?}, from n{}: {e}", node.number));
                assert_eq!(answer.peer, ground.node_as_seen(node.number, &answer.name, family), "{mode:?}");
            }
        }
    }
}

fn three_hundred_connections_spread_over_three_pods(mode: Mode) {
    let ground = Ground::new(mode);
    let web = ground.web();
    ground.serve(from_ref(&web));
    for family in FAMILIES {
        let counts = count((0..300).map(|_| asked(&ground.far, cluster_ip(&web, family))));
        assert_eq!(counts.len(), 3, "{counts:?}");
        assert!(counts.values().all(|count| (45..=180).contains(count)), "15 to 60 % each: {counts:?}");
    }
}

fn a_node_port_is_reached_on_a_node_without_a_pod_of_the_service(mode: Mode) {
    let ground = Ground::new(mode);
    ground.serve(&[ground.open()]);
    for family in FAMILIES {
        for node in &ground.cluster.nodes {
            let to = at(&node.addresses()[family], NODE_PORT);
            for _ in 0..8 {
                let answer = asked(ground.cluster.outside(), to);
                // As the node: the answer has to come back through it.
                assert_eq!(answer.peer, ground.node_as_seen(node.number, &answer.name, family), "{to}");
            }
            assert!(ground.far.who(to).is_ok(), "from a pod to {to}");
        }
    }
}

fn a_load_balancers_address_is_reached_from_outside_and_from_pods(mode: Mode) {
    let ground = Ground::new(mode);
    ground.serve(&[ground.open()]);
    ground.cluster.balance_to(&ground.cluster.nodes[2]);
    for address in BALANCED {
        let to = at(address, 80);
        let counts = count((0..40).map(|_| asked(ground.cluster.outside(), to)));
        assert_eq!(counts.len(), 3, "{counts:?}");
        // Within the cluster no packet goes to the load balancer.
        assert!(ground.near.who(to).is_ok() && ground.far.who(to).is_ok());
    }
}

fn with_external_traffic_policy_local_a_pod_sees_the_clients_address(mode: Mode) {
    let ground = Ground::new(mode);
    let open = Service { local: true, ..ground.open() };
    ground.serve(from_ref(&open));
    let outside = ground.cluster.outside();
    for family in FAMILIES {
        let [first, second, third] = [0, 1, 2].map(|n| at(&ground.cluster.nodes[n].addresses()[family], NODE_PORT));
        for (to, names) in [(first, &["w1", "w2"][..]), (second, &["w3"])] {
            for _ in 0..10 {
                let answer = asked(outside, to);
                assert_eq!(answer.peer, ip(OUTSIDE[family]));
                assert!(names.contains(&&*answer.name), "{} answered at {to}", answer.name);
            }
        }
        assert!(outside.unreachable(third, BLOCKED), "the node has no pod of the Service");
        let balanced = at(BALANCED[family], 80);
        ground.cluster.balance_to(&ground.cluster.nodes[1]);
        assert_eq!(
            outside.who(balanced).map(|answer| (answer.name, answer.peer)),
            Ok(("w3".into(), ip(OUTSIDE[family])))
        );
        ground.cluster.balance_to(&ground.cluster.nodes[2]);
        assert!(outside.unreachable(balanced, BLOCKED));
        // For the cluster's own, every pod of the Service will do.
        assert!(ground.far.who(balanced).is_ok());
        assert!(ground.far.who(cluster_ip(&open, family)).is_ok());
        assert!(ground.cluster.nodes[2].who(third).is_ok(), "a node at its own port");
    }
}

fn a_client_keeps_its_pod_with_session_affinity(mode: Mode) {
    let ground = Ground::new(mode);
    let web = Service { affinity: Some(10800), ..ground.web() };
    ground.serve(from_ref(&web));
    for family in FAMILIES {
        let to = cluster_ip(&web, family);
        for pod in [&ground.near, &ground.far] {
            let counts = count((0..20).map(|_| asked(pod, to)));
            assert_eq!(counts.len(), 1, "{} was sent to several: {counts:?}", pod.name);
        }
    }
}

fn a_pod_removed_while_in_use_gets_no_new_connection(mode: Mode) {
    let mut ground = Ground::new(mode);
    let mut web = ground.web();
    ground.serve(from_ref(&web));
    let to = cluster_ip(&web, 0);
    // A connection to each of the three.
    let mut open: BTreeMap<String, BufReader<TcpStream>> = BTreeMap::new();
    while open.len() < 3 {
        let mut connection = keep(&ground.far, to);
        let name = again(&mut connection).unwrap_or_else(|e| panic!("{e}"));
        open.entry(name).or_insert(connection);
    }
    web.endpoints.remove(0);
    ground.serve(from_ref(&web));
    // It is still there and finishes what it has begun.
    for (name, connection) in &mut open {
        assert_eq!(again(connection).as_deref(), Ok(&**name), "an open connection stays with its pod");
    }
    drop(ground.servers.remove(0));
    let (node, gone) = ground.web.remove(0);
    ground.cluster.nodes[node - 1].unwire(gone);
    let counts = count((0..40).map(|_| asked(&ground.far, to)));
    assert_eq!(counts.keys().collect::<Vec<_>>(), ["w2", "w3"]);
    for name in ["w2", "w3"] {
        let answered = open.get_mut(name).map(again);
        assert!(answered.as_ref().is_some_and(|who| who.as_deref() == Ok(name)), "{name}: {answered:?}");
    }
}

fn a_udp_service_answers_from_its_own_address(mode: Mode) {
    let ground = Ground::new(mode);
    let udp = Service { protocol: "udp", port: 53, ..ground.open() };
    ground.serve(from_ref(&udp));
    ground.cluster.balance_to(&ground.cluster.nodes[2]);
    for family in FAMILIES {
        let to = cluster_ip(&udp, family);
        // The sender takes an answer from the address that it asked only.
        let counts = count((0..60).map(|_| ground.far.who_udp(to).unwrap_or_else(|e| panic!("{e}"))));
        assert_eq!(counts.len(), 3, "{counts:?}");
        assert_eq!(ground.near.who_udp(to).map(|answer| answer.peer), Ok(ground.near.addresses[family]));
        for to in [at(&ground.cluster.nodes[2].addresses()[family], NODE_PORT), at(BALANCED[family], 53)] {
            assert!(ground.cluster.outside().who_udp(to).is_ok(), "{to}");
        }
    }
}

fn a_service_without_pods_is_refused_at_once(mode: Mode) {
    let ground = Ground::new(mode);
    ground.serve(&[Service { endpoints: Vec::new(), ..ground.open() }]);
    for family in FAMILIES {
        let to = cluster_ip(&ground.web(), family);
        ground.far.refused(to);
        ground.cluster.nodes[0].refused(to);
        ground.cluster.outside().refused(at(&ground.cluster.nodes[0].addresses()[family], NODE_PORT));
    }
}

/// Whether a pod reaches itself through its Service, with the plugins of `bins`, these keys of the bridge, and br_netfilter or not.
/// `wait` is how long that may take.
fn hairpin(mode: Mode, bins: BinDir, keys: &Value, br_netfilter: bool, wait: Duration) -> bool {
    let cluster = Cluster::new(&Plan { nodes: 1, keys: keys.clone(), br_netfilter, bins, ..Plan::default() });
    let node = &cluster.nodes[0];
    let pod = node.wire("self");
    let _server = Answering::start(&pod, "self", 8080);
    let service = Service::tcp("self", 81, 80).to(&[(1, &pod)], 8080);
    cluster.serve(mode, from_ref(&service));
    let reached = FAMILIES.map(|family| {
        let to = cluster_ip(&service, family);
        let reached = !pod.unreachable(to, wait);
        if reached {
            // As the gateway: an answer to its own address would not leave the pod.
            assert_eq!(pod.who(to).map(|answer| answer.peer), Ok(ip(&node.gateways()[family])), "{keys}");
        }
        reached
    });
    assert_eq!(reached[0], reached[1], "{keys}, br_netfilter {br_netfilter}: the families differ");
    reached[0]
}

fn a_pod_reaches_itself_through_its_service_with_hairpin_mode(mode: Mode) {
    for br_netfilter in [true, false] {
        assert!(hairpin(mode, BinDir::ours(), &json!({ "hairpinMode": true }), br_netfilter, LOST), "{br_netfilter}");
    }
    // Without it, the bridge keeps a frame from the port that it came in by, when netfilter has changed it within the bridge.
    assert!(!hairpin(mode, BinDir::ours(), &json!({}), true, BLOCKED));
    // By way of the gateway it is no frame of the bridge.
    assert!(hairpin(mode, BinDir::ours(), &json!({}), false, LOST));
}

fn a_pod_reaches_itself_through_its_service_with_promisc_mode_where_the_kernel_lets_it(mode: Mode) {
    let keys = json!({ "promiscMode": true });
    assert!(hairpin(mode, BinDir::ours(), &keys, false, LOST));
    // Newer kernels (6.18 is one) take a packet that only promiscuous mode hands to the bridge itself out of its connection,
    // and with that out of kube-proxy's translation: with br_netfilter it takes hairpinMode there.
    let [ours, reference] =
        [BinDir::ours(), BinDir::reference()].map(|bins| hairpin(mode, bins, &keys, true, ONE_LOST));
    assert_eq!(ours, reference, "the reference does as the kernel lets it");
}

fn without_br_netfilter_a_neighbour_answers_past_the_rules(mode: Mode) {
    for br_netfilter in [true, false] {
        let ground = Ground::of(mode, &Plan { br_netfilter, ..Plan::default() });
        let pods =
            |from: usize, to: usize| ground.web[from..to].iter().map(|(node, pod)| (*node, pod)).collect::<Vec<_>>();
        let [here, there] = [(82, pods(0, 2)), (83, pods(2, 3))]
            .map(|(last, pods)| Service::tcp(&format!("web{last}"), last, 80).to(&pods, 8080));
        ground.serve(&[here.clone(), there.clone()]);
        for family in FAMILIES {
            // The answer goes from port to port: only br_netfilter has it pass the rules that turn it back. That is why kubeadm
            // insists on it.
            let neighbour = cluster_ip(&here, family);
            if br_netfilter {
                assert_eq!(ground.near.who(neighbour).map(|answer| answer.peer), Ok(ground.near.addresses[family]));
            } else {
                assert!(ground.near.unreachable(neighbour, BLOCKED), "the answer comes from another address");
            }
            assert!(ground.near.who(cluster_ip(&there, family)).is_ok(), "a pod of another node");
            assert!(ground.far.who(cluster_ip(&here, family)).is_ok(), "from another node");
            assert!(ground.cluster.nodes[0].who(cluster_ip(&here, family)).is_ok(), "from the node");
        }
    }
}

fn a_host_port_and_a_service_live_side_by_side(mode: Mode) {
    // In either order: a host port before the Services' rules and one after.
    let ground = Ground::new(mode);
    let first = &ground.cluster.nodes[0];
    let published = |name: &str, port: u16| {
        let ports = json!({ "portMappings": [{ "hostPort": port, "containerPort": 8080, "protocol": "tcp" }] });
        let pod = first.wire_with(name, &ports);
        let server = Answering::start(&pod, name, 8080);
        (pod, server)
    };
    let before = published("before", 8081);
    ground.serve(&[ground.open()]);
    let after = published("after", 8082);
    for family in FAMILIES {
        let outside = ground.cluster.outside();
        let node = &first.addresses()[family];
        for (name, port) in [("before", 8081), ("after", 8082)] {
            let answer = asked(outside, at(node, port));
            assert_eq!(
                (&*answer.name, answer.peer),
                (name, ip(OUTSIDE[family])),
                "the pod of the port sees the client"
            );
        }
        assert!(asked(outside, at(node, NODE_PORT)).name.starts_with('w'));
        assert!(asked(&ground.far, cluster_ip(&ground.web(), family)).name.starts_with('w'));
        // From one to the other: a pod with a host port asks a Service, and one of the Service's asks the host port.
        assert!(asked(&before.0, cluster_ip(&ground.web(), family)).name.starts_with('w'));
        assert_eq!(asked(&ground.web[2].1, at(node, 8082)).name, "after");
    }
    first.unwire(before.0);
    first.unwire(after.0);
    let outside = ground.cluster.outside();
    outside.refused(at(&first.addresses()[0], 8081));
    assert!(asked(outside, at(&first.addresses()[0], NODE_PORT)).name.starts_with('w'), "DEL takes its own rules only");
}

fn routed_pods_of_the_ptp_plugin_need_no_br_netfilter(mode: Mode) {
    let cluster = Cluster::new(&Plan { br_netfilter: false, ..Plan::default() });
    let [first, second, _] = &cluster.nodes[..] else { panic!("three nodes") };
    for node in [first, second] {
        let ipam = conf::host_local(&node.pod_cidrs().each_ref().map(String::as_str));
        let ipam = conf::with(ipam, json!({ "routes": [{ "dst": "0.0.0.0/0" }, { "dst": "::/0" }] }));
        node.use_chain(&[json!({ "type": "ptp", "ipam": ipam })]);
    }
    let [near, web, far] = [(first, "near"), (first, "web"), (second, "far")].map(|(node, name)| node.wire(name));
    let _server = Answering::start(&web, "web", 8080);
    let service = Service::tcp("web", 80, 80).to(&[(1, &web)], 8080);
    cluster.serve(mode, from_ref(&service));
    for family in FAMILIES {
        let to = cluster_ip(&service, family);
        for pod in [&near, &far] {
            assert_eq!(asked(pod, to).peer, pod.addresses[family], "{}", pod.name);
            assert_eq!(pod.tcp(&web, web.addresses[family]), Ok(pod.addresses[family]), "{}", pod.name);
        }
        // The pod itself, through its Service: as the node, and no bridge has to turn a frame round.
        assert_ne!(asked(&web, to).peer, web.addresses[family]);
        assert!(second.who(to).is_ok(), "from a node");
    }
}

#[test]
fn a_port_that_the_service_does_not_have_is_refused_in_nftables_mode() {
    let ground = Ground::new(Mode::Nftables);
    let web = ground.web();
    ground.serve(from_ref(&web));
    for family in FAMILIES {
        let to = (web.cluster_ip[family], 81).into();
        ground.far.refused(to);
        ground.cluster.nodes[1].refused(to);
    }
}

/// What the server at `to` answers.
#[track_caller]
fn asked(from: &Namespace, to: SocketAddr) -> Answer {
    from.who(to).unwrap_or_else(|e| panic!("{e}"))
}

/// A connection that stays open from request to request.
fn keep(from: &Namespace, to: SocketAddr) -> BufReader<TcpStream> {
    let connection = from.run(|| TcpStream::connect_timeout(&to, LOST)).unwrap_or_else(|e| panic!("{to}: {e}"));
    connection.set_read_timeout(Some(LOST)).unwrap_or_else(|e| panic!("{to}: {e}"));
    BufReader::new(connection)
}

/// The name of the server that answers another request on it.
fn again(connection: &mut BufReader<TcpStream>) -> Result<String, String> {
    let lost = |e: std::io::Error| format!("an open connection: {e}");
    connection.get_mut().write_all(b"GET / HTTP/1.1\r\nHost: web\r\n\r\n").map_err(lost)?;
    let lines = connection.lines().map_while(Result::ok);
    let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
    let length = head.iter().find_map(|line| line.strip_prefix("Content-Length: ")?.parse().ok());
    let mut body = vec![0; length.ok_or_else(|| format!("no length in {head:?}"))?];
    connection.read_exact(&mut body).map_err(lost)?;
    Ok(Answer::read(&String::from_utf8_lossy(&body)).name)
}

/// A test of each scenario in each mode.
macro_rules! in_both_modes {
    ($($scenario:ident),* $(,)?) => {
        mod iptables_mode {
            $(#[test] fn $scenario() { super::$scenario(super::Mode::Iptables); })*
        }
        mod nftables_mode {
            $(#[test] fn $scenario() { super::$scenario(super::Mode::Nftables); })*
        }
    };
}

in_both_modes! {
    a_cluster_ip_is_reached_from_pods_with_their_own_address_and_from_nodes,
    three_hundred_connections_spread_over_three_pods,
    a_node_port_is_reached_on_a_node_without_a_pod_of_the_service,
    a_load_balancers_address_is_reached_from_outside_and_from_pods,
    with_external_traffic_policy_local_a_pod_sees_the_clients_address,
    a_client_keeps_its_pod_with_session_affinity,
    a_pod_removed_while_in_use_gets_no_new_connection,
    a_udp_service_answers_from_its_own_address,
    a_service_without_pods_is_refused_at_once,
    a_pod_reaches_itself_through_its_service_with_hairpin_mode,
    a_pod_reaches_itself_through_its_service_with_promisc_mode_where_the_kernel_lets_it,
    without_br_netfilter_a_neighbour_answers_past_the_rules,
    routed_pods_of_the_ptp_plugin_need_no_br_netfilter,
    a_host_port_and_a_service_live_side_by_side,
}
