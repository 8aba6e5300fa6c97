//! Cluster DNS: a server in a pod behind a Service, and pods that ask it as the CNI result tells them to.

use std::net::IpAddr;

use podlink_tests::cluster::{
    Answering, Cluster, Daemon, Endpoint, Mode, OUTSIDE, Plan, Resolver, Service, WiredPod, ip,
};
use podlink_tests::files::write;
use serde_json::{Value, json};

/// A name on the internet, and its address.
const OUTSIDE_NAME: (&str, &str) = ("www.example.com", "203.0.113.80");

/// What kubelet gives pods of the namespace `default`.
fn dns() -> Value {
    json!({
        "nameservers": ["10.96.0.10"],
        "search": ["default.svc.cluster.local", "svc.cluster.local", "cluster.local"],
        "options": ["ndots:5"],
    })
}

/// A cluster with the DNS server in a pod of the second node, and on the first a pod that asks. The Service `web` has a cluster
/// IP, `db` is headless; the host outside serves the internet's names.
struct Ground {
    web: Service,
    db: Vec<WiredPod>,
    client: WiredPod,
    server: Daemon,
    _others: (Daemon, Answering, WiredPod),
    cluster: Cluster,
}

impl Ground {
    fn new(mode: Mode, keys: Value) -> Self {
        let cluster = Cluster::new(&Plan { keys, ..Plan::default() });
        let [first, second, third] = &cluster.nodes[..] else { panic!("three nodes") };
        write(
            &first.outside("/run/cluster-resolv.conf"),
            "nameserver 10.96.0.10\nsearch default.svc.cluster.local\noptions ndots:5\n",
        );
        let coredns = second.wire("coredns");
        let db = vec![second.wire("db-0"), third.wire("db-1"), third.wire("db-2")];
        let web_server = Answering::start(&db[0], "web", 8080);
        let web = Service::tcp("web", 80, 80).to(&[(2, &db[0])], 8080);
        let tcp = Service {
            name: "kube-system/kube-dns".into(),
            ..Service::tcp("kube-dns", 10, 53).to(&[(2, &coredns)], 53)
        };
        let udp = Service { protocol: "udp", ..tcp.clone() };
        cluster.serve(mode, &[tcp, udp, web.clone()]);

        // What CoreDNS makes of the API server's Services and endpoints.
        let of = |addresses: &[IpAddr; 2], name: &str| {
            addresses.map(|a| format!("{a} {name}.default.svc.cluster.local\n")).concat()
        };
        let mut records = of(&web.cluster_ip, "web");
        for pod in &db {
            records += &of(&pod.addresses, "db");
            records += &of(&pod.addresses, &format!("{}.db", pod.name));
        }
        let hosts = second.dir().join("hosts");
        write(&hosts, &records);
        let (hosts, upstream) = (format!("--addn-hosts={}", hosts.display()), format!("--server={}", OUTSIDE[0]));
        let names = dnsmasq(&["--local=/cluster.local/", &hosts, &upstream]);
        let server = Daemon::start(&coredns, &names, &second.dir().join("dns.log"));
        let internet = format!("--address=/{}/{}", OUTSIDE_NAME.0, OUTSIDE_NAME.1);
        let root = Daemon::start(cluster.outside(), &dnsmasq(&[&internet]), &second.dir().join("internet.log"));
        let client = first.wire("client");
        Self { web, db, client, server, _others: (root, web_server, coredns), cluster }
    }

    fn resolver(&self) -> Resolver<'_> {
        let resolver = Resolver::of(&self.client, self.cluster.nodes[0].dir());
        self.server.wait_until(|| resolver.look_up("ahostsv4", "web.default.svc.cluster.local", ""));
        self.server.wait_until(|| resolver.look_up("ahostsv4", OUTSIDE_NAME.0, ""));
        resolver
    }
}

/// dnsmasq in the foreground, with nothing of the machine's settings.
fn dnsmasq<'a>(more: &[&'a str]) -> Vec<&'a str> {
    let own = ["dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--user=root"];
    [&own[..], &["--group=root", "--pid-file=", "--log-facility=-"], more].concat()
}

fn addresses<'a>(pods: impl IntoIterator<Item = &'a WiredPod>, family: usize) -> Vec<IpAddr> {
    let mut all: Vec<IpAddr> = pods.into_iter().map(|pod| pod.addresses[family]).collect();
    all.sort();
    all
}

fn a_pod_resolves_services_headless_ones_and_outside_names(mode: Mode) {
    let ground = Ground::new(mode, json!({ "hairpinMode": true, "dns": dns() }));
    assert_eq!(ground.client.result["dns"], dns());
    let resolver = ground.resolver();
    for (family, database) in [(0, "ahostsv4"), (1, "ahostsv6")] {
        // The whole name, and what the search list makes of a short one.
        for name in ["web.default.svc.cluster.local", "web.default.svc", "web.default", "web"] {
            assert_eq!(resolver.look_up(database, name, ""), Ok(vec![ground.web.cluster_ip[family]]), "{name}");
        }
        // A headless Service is its pods.
        assert_eq!(resolver.look_up(database, "db", ""), Ok(addresses(&ground.db, family)));
        assert_eq!(resolver.look_up(database, "db-1.db", ""), Ok(addresses([&ground.db[1]], family)));
    }
    // An answer too large for a datagram, or a resolver that likes TCP better.
    assert_eq!(resolver.look_up("ahostsv4", "web", "use-vc"), Ok(vec![ground.web.cluster_ip[0]]));
    assert_eq!(resolver.look_up("ahostsv4", OUTSIDE_NAME.0, ""), Ok(vec![ip(OUTSIDE_NAME.1)]));
    assert!(resolver.look_up("ahostsv4", "nobody", "").is_err());
    let other = resolver.run(&["busybox", "nslookup", "db.default.svc.cluster.local"], "").success();
    for address in addresses(&ground.db, 0) {
        assert!(other.contains(&address.to_string()), "{address} in {other}");
    }
    // And what it resolves is reached.
    assert_eq!(ground.client.who((ground.web.cluster_ip[0], 80).into()).map(|answer| answer.name), Ok("web".into()));
}

#[test]
fn a_pod_resolves_services_headless_ones_and_outside_names_by_the_dns_of_the_conflist() {
    for mode in [Mode::Iptables, Mode::Nftables] {
        a_pod_resolves_services_headless_ones_and_outside_names(mode);
    }
}

#[test]
fn a_pod_resolves_by_the_resolv_conf_that_host_local_is_given() {
    let ground = Ground::new(Mode::Nftables, json!({ "hairpinMode": true }));
    let node = &ground.cluster.nodes[0];
    let ranges: Vec<Value> = node.pod_cidrs().iter().map(|subnet| json!([{ "subnet": subnet }])).collect();
    let ipam = json!({ "type": "host-local", "ranges": ranges, "resolvConf": "/run/cluster-resolv.conf" });
    node.use_chain(&[
        json!({ "type": "bridge", "bridge": "cni0", "isDefaultGateway": true, "hairpinMode": true, "ipam": ipam }),
    ]);
    let pod = node.wire("resolv");
    let expected =
        json!({ "nameservers": ["10.96.0.10"], "search": ["default.svc.cluster.local"], "options": ["ndots:5"] });
    assert_eq!(pod.result["dns"], expected);
    let resolver = Resolver::of(&pod, node.dir());
    let found = ground.server.wait_until(|| resolver.look_up("ahostsv4", "web", ""));
    assert_eq!(found, [ground.web.cluster_ip[0]]);
    assert_eq!(resolver.look_up("ahostsv6", "db", ""), Ok(addresses(&ground.db, 1)));
}

#[test]
fn names_resolve_again_after_the_dns_pod_has_moved_to_another_node() {
    let ground = Ground::new(Mode::Iptables, json!({ "hairpinMode": true, "dns": dns() }));
    ground.resolver();
    let third = &ground.cluster.nodes[2];
    let moved = third.wire("coredns-2");
    let hosts = format!("--addn-hosts={}", ground.cluster.nodes[1].dir().join("hosts").display());
    let server = Daemon::start(&moved, &dnsmasq(&["--local=/cluster.local/", &hosts]), &third.dir().join("dns.log"));
    let endpoint = Endpoint { node: 3, addresses: moved.addresses, port: 53 };
    let tcp =
        Service { name: "kube-system/kube-dns".into(), endpoints: vec![endpoint], ..Service::tcp("kube-dns", 10, 53) };
    let udp = Service { protocol: "udp", ..tcp.clone() };
    ground.cluster.serve(Mode::Iptables, &[tcp, udp]);
    drop(ground.server);
    let resolver = Resolver::of(&ground.client, ground.cluster.nodes[0].dir());
    let found = server.wait_until(|| resolver.look_up("ahostsv4", "web", ""));
    assert_eq!(found, [ground.web.cluster_ip[0]]);
}
