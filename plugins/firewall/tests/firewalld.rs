//! The firewalld backend against a firewalld of our own, on a D-Bus daemon of our own (Debian package `dbus-daemon`).
#![cfg(feature = "firewalld")]
#![allow(clippy::unwrap_used, reason = "the helpers of tests panic as tests do")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, mpsc};

use futures_util::StreamExt;
use nix::sched::{CloneFlags, unshare};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Address to zone.
type Sources = Arc<Mutex<BTreeMap<String, String>>>;

/// A bus that stands for the system's, on the calling thread in a network namespace of its own.
struct Bus {
    daemon: Child,
    dir: TempDir,
}

impl Bus {
    fn start() -> Bus {
        unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace: run as root");
        let dir = tempfile::tempdir().unwrap();
        let (config, socket) = (dir.path().join("bus.conf"), dir.path().join("socket"));
        let text = format!(
            "<busconfig><type>session</type><listen>unix:path={}</listen><auth>EXTERNAL</auth>\
             <policy context=\"default\"><allow own=\"*\"/><allow send_destination=\"*\"/><allow receive_type=\"*\"/>\
             </policy></busconfig>",
            socket.display()
        );
        std::fs::write(&config, text).unwrap();
        let mut daemon = Command::new("dbus-daemon");
        daemon.arg("--nofork").arg("--print-address").arg(format!("--config-file={}", config.display()));
        let mut daemon = daemon.stdout(Stdio::piped()).spawn().expect("dbus-daemon: apt-get install dbus-daemon");
        // It prints the address once it listens.
        let mut line = String::new();
        BufReader::new(daemon.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.starts_with("unix:path="), "{line}");
        Bus { daemon, dir }
    }

    fn address(&self) -> String {
        format!("unix:path={}", self.dir.path().join("socket").display())
    }

    /// A firewalld with an empty zone `trusted` and a zone `drop`, until the result is dropped.
    fn firewalld(&self) -> (Sources, mpsc::Sender<()>) {
        let sources = Sources::default();
        let (shared, address) = (Arc::clone(&sources), self.address());
        let (ready, is_ready) = mpsc::channel();
        let (stop, stopped) = mpsc::channel::<()>();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let bus = zbus::connection::Builder::address(address.as_str()).build().await.unwrap();
                let mut calls = zbus::MessageStream::from(&bus);
                bus.request_name("org.fedoraproject.FirewallD1").await.unwrap();
                ready.send(()).unwrap();
                while stopped.try_recv() != Err(mpsc::TryRecvError::Disconnected) {
                    let Some(Ok(message)) = calls.next().await else { return };
                    serve(&bus, &message, &shared).await;
                }
            });
        });
        is_ready.recv().unwrap();
        (sources, stop)
    }

    fn firewall(&self, verb: &str, config: &Value) -> (bool, Value) {
        let mut child = Command::new(env!("CARGO_BIN_EXE_firewall"))
            .env_clear()
            .env("DBUS_SYSTEM_BUS_ADDRESS", self.address())
            .envs([("CNI_COMMAND", verb), ("CNI_CONTAINERID", "c1"), ("CNI_IFNAME", "eth0"), ("CNI_PATH", "/none")])
            .env("CNI_NETNS", "/proc/1/ns/net")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(config.to_string().as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        (output.status.success(), serde_json::from_slice(&output.stdout).unwrap_or(Value::Null))
    }

    #[track_caller]
    fn success(&self, verb: &str, config: &Value) {
        let (success, answer) = self.firewall(verb, config);
        assert!(success, "{verb} {config}: {answer}");
    }

    #[track_caller]
    fn failure(&self, verb: &str, config: &Value) -> String {
        let (success, answer) = self.firewall(verb, config);
        assert!(!success, "{verb} {config}");
        answer.to_string()
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

/// Answers as firewalld does (firewalld/src/firewall/core/fw_zone.py, errors of firewalld.dbus(5)).
async fn serve(bus: &zbus::Connection, message: &zbus::Message, sources: &Sources) {
    let call = message.header();
    if call.interface().is_none_or(|interface| interface.as_str() != "org.fedoraproject.FirewallD1.zone") {
        return;
    }
    let (zone, source): (String, String) = message.body().deserialize().unwrap();
    let held = sources.lock().unwrap().get(&source).cloned();
    let error = |text: String| async move {
        bus.reply_error(&message.header(), "org.fedoraproject.FirewallD1.Exception", &text).await.unwrap();
    };
    match (call.member().unwrap().as_str(), held) {
        _ if !["trusted", "drop"].contains(&zone.as_str()) => error(format!("INVALID_ZONE: {zone}")).await,
        ("addSource", Some(held)) if held == zone => error(format!("ZONE_ALREADY_SET: '{source}' already")).await,
        ("addSource", Some(held)) => error(format!("ZONE_CONFLICT: '{source}' already bound to '{held}'")).await,
        ("removeSource", None) => error(format!("UNKNOWN_SOURCE: '{source}' is not in any zone")).await,
        ("removeSource", Some(held)) if held != zone => error(format!("ZONE_CONFLICT: {held}")).await,
        ("addSource", None) => {
            sources.lock().unwrap().insert(source, zone.clone());
            bus.reply(&call, &zone).await.unwrap();
        }
        ("removeSource", Some(_)) => {
            sources.lock().unwrap().remove(&source);
            bus.reply(&call, &zone).await.unwrap();
        }
        ("querySource", held) => bus.reply(&call, &(held == Some(zone))).await.unwrap(),
        (other, _) => panic!("{other}"),
    }
}

fn config(keys: Value) -> Value {
    let mut config = json!({
        "cniVersion": "1.1.0", "name": "net", "type": "firewall",
        "prevResult": { "cniVersion": "1.1.0", "ips": [{ "address": "10.1.0.2/24" }, { "address": "fd00::2/64" }] },
    });
    for (key, value) in keys.as_object().unwrap() {
        config[key] = value.clone();
    }
    config
}

fn pairs(sources: &Sources) -> Vec<(String, String)> {
    sources.lock().unwrap().clone().into_iter().collect()
}

fn both(zone: &str) -> Vec<(String, String)> {
    ["10.1.0.2/32", "fd00::2/128"].map(|source| (source.to_owned(), zone.to_owned())).into()
}

#[test]
fn addresses_are_in_the_zone_from_add_to_del() {
    let bus = Bus::start();
    let (sources, _running) = bus.firewalld();
    for (keys, zone) in [(json!({ "backend": "firewalld" }), "trusted"), (json!({ "firewalldZone": "drop" }), "drop")] {
        let config = config(keys);
        bus.success("STATUS", &config);
        bus.success("ADD", &config);
        bus.success("ADD", &config);
        assert_eq!(pairs(&sources), both(zone));
        bus.success("CHECK", &config);
        sources.lock().unwrap().remove("fd00::2/128");
        let drift = bus.failure("CHECK", &config);
        assert!(drift.contains("fd00::2") && drift.contains(zone), "{drift}");
        // Nothing but the owner and the zone is needed.
        let mut bare = config.clone();
        bare.as_object_mut().unwrap().remove("prevResult");
        bus.success("DEL", &bare);
        bus.success("DEL", &config);
        assert_eq!(pairs(&sources), []);
    }
}

#[test]
fn gc_takes_out_what_no_valid_attachment_owns() {
    let bus = Bus::start();
    let (sources, _running) = bus.firewalld();
    let own = config(json!({}));
    bus.success("ADD", &own);
    let gc = |valid: Value| {
        let mut gc = own.clone();
        gc["cni.dev/valid-attachments"] = valid;
        bus.success("GC", &gc);
    };
    gc(json!([{ "containerID": "c1", "ifname": "eth0" }]));
    assert_eq!(pairs(&sources), both("trusted"));
    gc(json!([]));
    assert_eq!(pairs(&sources), []);
}

#[test]
fn refusals_are_told_and_leave_nothing() {
    let bus = Bus::start();
    let (sources, _running) = bus.firewalld();
    let error = bus.failure("ADD", &config(json!({ "firewalldZone": "none" })));
    assert!(error.contains("INVALID_ZONE") && error.contains("10.1.0.2/32"), "{error}");
    // An address that is in another zone by somebody's choice.
    sources.lock().unwrap().insert("fd00::2/128".to_owned(), "drop".to_owned());
    let error = bus.failure("ADD", &config(json!({})));
    assert!(error.contains("ZONE_CONFLICT") && error.contains("fd00::2/128"), "{error}");
    assert_eq!(pairs(&sources), [("fd00::2/128".to_owned(), "drop".to_owned())]);
    bus.success("DEL", &config(json!({})));
    assert_eq!(pairs(&sources).len(), 1);
}

#[test]
fn without_firewalld_on_the_bus_another_backend_is_chosen() {
    let bus = Bus::start();
    bus.success("ADD", &config(json!({})));
    bus.success("CHECK", &config(json!({})));
    bus.success("DEL", &config(json!({})));
    let error = bus.failure("ADD", &config(json!({ "backend": "firewalld" })));
    assert!(error.contains("no firewalld"), "{error}");
    assert!(bus.failure("STATUS", &config(json!({ "backend": "firewalld" }))).contains("50"));
}

#[test]
fn a_bus_that_ends_every_connection_is_no_firewalld() {
    unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace: run as root");
    let dir = tempfile::tempdir().unwrap();
    let listener = std::os::unix::net::UnixListener::bind(dir.path().join("socket")).unwrap();
    std::thread::spawn(move || listener.incoming().for_each(drop));
    let bus = Bus { daemon: Command::new("true").spawn().unwrap(), dir };
    bus.success("ADD", &config(json!({})));
    bus.success("DEL", &config(json!({})));
}
