//! Ingress: nginx in a pod, open to the outside by a Service, leads to Services by host, by path and over TLS.

use std::net::TcpStream;
use std::path::Path;

use podlink_tests::Namespace;
use podlink_tests::cluster::answering::Answer;
use podlink_tests::cluster::{Answering, Cluster, Daemon, FAMILIES, Mode, OUTSIDE, Plan, Service, WiredPod, ip};
use podlink_tests::files::{make_dir, write};
use podlink_tests::traffic::LOST;

const BALANCED: [&str; 2] = ["198.51.100.20", "2001:db8:1b::20"];

/// The controller's pod on the first node; the Service `shop` has a pod on each of the others, `blog` one on the third.
struct Ground {
    cluster: Cluster,
    ingress: WiredPod,
    _nginx: Daemon,
    _servers: Vec<(WiredPod, Answering)>,
}

impl Ground {
    /// `local` is the `externalTrafficPolicy` of the controller's Service.
    fn new(mode: Mode, local: bool) -> Self {
        let cluster = Cluster::new(&Plan::default());
        let [first, second, third] = &cluster.nodes[..] else { panic!("three nodes") };
        let servers = [(second, "shop-1"), (third, "shop-2"), (third, "blog-1")].map(|(node, name)| {
            let pod = node.wire(name);
            let server = Answering::start(&pod, name, 8080);
            (pod, server)
        });
        let ingress = first.wire("ingress");
        let shop = Service::tcp("shop", 81, 80).to(&[(2, &servers[0].0), (3, &servers[1].0)], 8080);
        let blog = Service::tcp("blog", 82, 80).to(&[(3, &servers[2].0)], 8080);
        let open = |name: &str, port| Service {
            load_balancer: Some(BALANCED.map(ip)),
            node_port: Some(30000 + port),
            local,
            ..Service::tcp(name, 20, port).to(&[(1, &ingress)], port)
        };
        cluster.serve(mode, &[shop, blog, open("ingress-http", 80), open("ingress-https", 443)]);
        cluster.balance_to(first);

        let dir = first.dir().join("nginx");
        make_dir(&dir);
        // nginx makes its directories for large requests there.
        make_dir(&first.outside("/var/lib/nginx"));
        let (key, cert) = (dir.join("key.pem").display().to_string(), dir.join("cert.pem").display().to_string());
        let request =
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
        let subject = ["-subj", "/CN=shop.example", "-addext", "subjectAltName=DNS:shop.example", "-days", "2"];
        first.sh(&[&request[..], &subject, &["-keyout", &key, "-out", &cert]].concat());
        let config = dir.join("nginx.conf").display().to_string();
        write(Path::new(&config), &configuration(&dir));
        let line = ["nginx", "-c", &config, "-e", "stderr"];
        let nginx = Daemon::start(&ingress, &line, &dir.join("log"));
        for port in [80, 443] {
            nginx.wait_until(|| open_at((BALANCED[0], port), cluster.outside()));
        }
        Self { ingress, _nginx: nginx, _servers: servers.into(), cluster }
    }

    /// What the host outside gets by curl for a URL of `host`, which it takes to be at the load balancer's address.
    fn curl(&self, family: usize, host: &str, url: &str) -> Result<Answer, String> {
        let address = [BALANCED[0].to_owned(), format!("[{}]", BALANCED[1])][family].clone();
        let (http, https) = (format!("{host}:80:{address}"), format!("{host}:443:{address}"));
        let cert = self.cluster.nodes[0].dir().join("nginx/cert.pem").display().to_string();
        let mut command = std::process::Command::new(podlink_tests::need::tool("curl"));
        command.args([
            "-sSf",
            "--noproxy",
            "*",
            "--max-time",
            "20",
            "--cacert",
            &cert,
            "--resolve",
            &http,
            "--resolve",
            &https,
        ]);
        let finished = self.cluster.outside().finish(command.arg(url), b"");
        if finished.code == Some(0) { Ok(Answer::read(&finished.stdout)) } else { Err(finished.stderr) }
    }
}

/// Connects to the port, and no more.
fn open_at((address, port): (&str, u16), from: &Namespace) -> Result<(), String> {
    let to = (ip(address), port).into();
    from.run(|| TcpStream::connect_timeout(&to, LOST)).map(drop).map_err(|e| format!("{to}: {e}"))
}

/// What an ingress controller makes of two Ingress objects: one with two paths and TLS, one with a host of its own.
fn configuration(dir: &Path) -> String {
    let dir = dir.display();
    let to = |service: &str| {
        format!(
            "proxy_pass http://{service}; proxy_set_header Host $host; \
             proxy_set_header X-Forwarded-For $remote_addr;"
        )
    };
    let (shop, blog) = (to("10.96.0.81"), to("10.96.0.82"));
    format!(
        "daemon off; master_process off; pid {dir}/pid; error_log stderr;
         events {{ }}
         http {{
           access_log off;
           server {{ listen 80 default_server; listen [::]:80 default_server; return 404; }}
           server {{
             listen 80; listen [::]:80; listen 443 ssl; listen [::]:443 ssl;
             server_name shop.example;
             ssl_certificate {dir}/cert.pem; ssl_certificate_key {dir}/key.pem;
             location / {{ {shop} }}
             location /blog {{ {blog} }}
           }}
           server {{ listen 80; listen [::]:80; server_name blog.example; location / {{ {blog} }} }}
         }}"
    )
}

fn requests_are_routed_by_host_and_by_path(mode: Mode) {
    let ground = Ground::new(mode, false);
    for family in FAMILIES {
        for (host, url, service) in [
            ("shop.example", "http://shop.example/cart", "shop-"),
            ("shop.example", "http://shop.example/blog/1", "blog-"),
            ("blog.example", "http://blog.example/cart", "blog-"),
        ] {
            let answer = ground.curl(family, host, url).unwrap_or_else(|e| panic!("{url}: {e}"));
            assert!(answer.name.starts_with(service), "{url} was answered by {}", answer.name);
            assert!(url.ends_with(&answer.path), "{url} came as {}", answer.path);
            // nginx asks the Service, over IPv4 here: no node on the way changes who asks.
            assert_eq!(answer.peer, ground.ingress.addresses[0], "the pod sees the controller's own address");
        }
        let unknown = ground.curl(family, "nobody.example", "http://nobody.example/");
        assert!(unknown.as_ref().is_err_and(|e| e.contains("404")), "{unknown:?}");
    }
    // Each request is a connection of its own to the Service: both pods get some.
    let mut names: Vec<String> = (0..30)
        .filter_map(|_| ground.curl(0, "shop.example", "http://shop.example/").ok())
        .map(|answer| answer.name)
        .collect();
    names.sort();
    names.dedup();
    assert_eq!(names, ["shop-1", "shop-2"]);
}

#[test]
fn requests_are_routed_by_host_and_by_path_with_iptables() {
    requests_are_routed_by_host_and_by_path(Mode::Iptables);
}

#[test]
fn requests_are_routed_by_host_and_by_path_with_nftables() {
    requests_are_routed_by_host_and_by_path(Mode::Nftables);
}

#[test]
fn tls_ends_at_the_controller_with_the_hosts_certificate() {
    let ground = Ground::new(Mode::Nftables, false);
    for family in FAMILIES {
        for (url, service) in [("https://shop.example/", "shop-"), ("https://shop.example/blog", "blog-")] {
            let answer = ground.curl(family, "shop.example", url).unwrap_or_else(|e| panic!("{url}: {e}"));
            assert!(answer.name.starts_with(service), "{url} was answered by {}", answer.name);
        }
        let other = ground.curl(family, "blog.example", "https://blog.example/");
        assert!(other.as_ref().is_err_and(|e| e.contains("certificate")), "{other:?}");
    }
}

#[test]
fn the_controller_tells_the_pod_the_clients_address_with_external_traffic_policy_local() {
    for (local, mode) in [(true, Mode::Iptables), (true, Mode::Nftables), (false, Mode::Nftables)] {
        let ground = Ground::new(mode, local);
        for family in FAMILIES {
            let answer = ground.curl(family, "shop.example", "http://shop.example/").unwrap();
            let node = ground.cluster.nodes[0].gateways()[family].clone();
            let client = if local { OUTSIDE[family].to_owned() } else { node };
            assert_eq!(answer.forwarded_for, Some(client), "{mode:?}, family {family}");
            assert_eq!(answer.peer, ground.ingress.addresses[0]);
        }
    }
}
