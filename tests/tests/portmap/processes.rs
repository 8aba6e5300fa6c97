//! Many calls at once, calls that are killed, and what a call costs.

use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use podlink_tests::outside::NODE;
use podlink_tests::{Call, need};
use serde_json::{Value, json};

use crate::ground::*;

/// Runs the call under strace: the lines of these system calls.
fn traced(ground: &Ground, call: &Call<'_>, verb: &str, syscalls: &str) -> Vec<String> {
    let plugin = call.command(verb);
    let log = ground.node.dir().join("strace");
    let mut strace = Command::new(need::tool("strace"));
    strace.args(["-f", "-qqq", "-o"]).arg(&log).args(["-e", &format!("trace={syscalls}")]).arg(plugin.get_program());
    strace.env_clear().envs(plugin.get_envs().filter_map(|(name, value)| Some((name, value?))));
    ground.node.finish(&mut strace, call.input()).success();
    std::fs::read_to_string(&log).unwrap_or_default().lines().map(str::to_owned).collect()
}

/// Runs the call under strace, which kills the plugin at the entry of its `nth` call of `syscall`. Whether it got that far.
fn killed(ground: &Ground, call: &Call<'_>, verb: &str, syscall: &str, nth: u32) -> bool {
    let plugin = call.command(verb);
    let mut strace = Command::new(need::tool("strace"));
    strace.args(["-qqq", "-o", "/dev/null", "-e", &format!("trace={syscall}")]);
    strace.args(["-e", &format!("inject={syscall}:signal=SIGKILL:when={nth}")]).arg(plugin.get_program());
    strace.env_clear().envs(plugin.get_envs().filter_map(|(name, value)| Some((name, value?))));
    ground.node.finish(&mut strace, call.input()).code != Some(0)
}

#[test]
fn killed_anywhere_it_leaves_what_del_and_the_next_add_cope_with() {
    for backend in BACKENDS {
        let mut hits = 0;
        for (verb, syscall, nth) in [
            ("ADD", "sendto", 1),
            ("ADD", "sendto", 4),
            ("ADD", "sendto", 5),
            ("ADD", "sendto", 6),
            ("ADD", "sendto", 8),
            ("ADD", "sendto", 12),
            ("ADD", "openat", 3),
            ("ADD", "write", 1),
            ("ADD", "write", 2),
            ("ADD", "wait4", 1),
            ("ADD", "wait4", 3),
            ("DEL", "sendto", 3),
            ("DEL", "sendto", 15),
            ("DEL", "wait4", 2),
        ] {
            let ground = Ground::new(&["a"]);
            let ports = json!([port(8080, 80, "tcp"), port(53, 53, "udp"), port_of(NODE[0], 90, "tcp")]);
            let call = ground.call(0, json!({ "backend": backend }), ports);
            if verb == "DEL" {
                call.add().success();
            }
            hits += u32::from(killed(&ground, &call, verb, syscall, nth));
            let case = format!("{backend}: {verb} killed at {syscall} {nth}");
            if nth % 2 == 0 {
                call.del().success();
                assert_eq!(ground.owned(), [""; 0], "{case}");
            }
            call.add().success();
            call.check().success();
            assert!(tcp(&ground.outside, at(NODE[0], 8080), ground.pod(0), 80, ARRIVES).is_ok(), "{case}");
            call.del().success();
            assert_eq!(ground.owned(), [""; 0], "{case}");
        }
        assert!(hits >= 7, "{backend}: only {hits} of the points exist: choose others");
    }
}

#[test]
fn without_ports_nothing_is_touched() {
    let ground = Ground::new(&["a"]);
    let before = ground.node.sh(&["nft", "list", "ruleset"]);
    let call = ground.call(0, json!({}), json!([]));
    for verb in ["ADD", "CHECK"] {
        let lines = traced(&ground, &call, verb, "execve,execveat,socket,flock,fcntl,clone,clone3,vfork");
        assert!(lines.len() == 1 && lines[0].contains("execve("), "{verb}: {lines:#?}");
    }
    // DEL cannot know that there were none, and asks nf_tables.
    let lines = traced(&ground, &call, "DEL", "execve,execveat,flock,clone,clone3,vfork");
    assert!(lines.len() == 1, "DEL: {lines:#?}");
    assert_eq!(call.add().success(), ground.pods[0].1);
    assert_eq!(ground.node.sh(&["nft", "list", "ruleset"]), before);
}

#[test]
fn the_native_backend_runs_no_process() {
    let ground = Ground::new(&["a"]);
    let call = ground.call(0, json!({ "backend": "nftables" }), json!([port(8080, 80, "tcp"), port(53, 53, "udp")]));
    for verb in ["ADD", "ADD", "CHECK", "DEL", "DEL"] {
        let lines = traced(&ground, &call, verb, "execve,execveat,clone,clone3,vfork");
        assert!(lines.len() == 1, "{verb}: {lines:#?}");
    }
}

#[test]
fn thirty_pods_at_once() {
    for backend in BACKENDS {
        let ground = Ground::new(&["a"]);
        let (pod, result) = &ground.pods[0];
        let calls: Vec<Call<'_>> = (0..30)
            .map(|number: u32| {
                let mut result = result.clone();
                result["ips"][0]["address"] = json!(format!("10.1.0.{}/24", 100 + number));
                result["ips"][1]["address"] = json!(format!("fd00:1::{:x}/64", 100 + number));
                let single = format!("192.0.2.{}", 100 + number);
                let ports = json!([
                    port(8000 + number, 80, "tcp"),
                    port(8000 + number, 80, "udp"),
                    port_of(&single, 90, "tcp")
                ]);
                let call = ground.node.typed(&portmap(json!({ "backend": backend }), ports)).pod(pod);
                call.env("CNI_CONTAINERID", format!("pod-{number}")).prev_result(&result)
            })
            .collect();
        let at_once = |verb: &str| {
            std::thread::scope(|scope| {
                let running: Vec<_> = calls.iter().map(|call| scope.spawn(move || call.run(verb))).collect();
                for call in running {
                    call.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)).success();
                }
            });
        };
        at_once("ADD");
        at_once("CHECK");
        at_once("ADD");
        at_once("CHECK");
        if backend == "nftables" {
            let rules = ground.nft(&["list", "ruleset"]);
            let rules =
                rules["nftables"].as_array().map_or(0, |all| all.iter().filter(|o| o["rule"].is_object()).count());
            assert_eq!(rules, 20, "the rules were made once");
        }
        at_once("DEL");
        assert_eq!(ground.owned(), [""; 0], "{backend}");
    }
}

#[test]
fn hundreds_of_ports_of_one_pod() {
    for backend in BACKENDS {
        let ground = Ground::new(&["a"]);
        let ports: Vec<Value> = (0..300)
            .map(|number| port(20_000 + number, 80, ["tcp", "udp", "sctp"][number as usize % 3]))
            .chain([port_of(NODE[0], 20_000, "udp"), port_of(NODE[1], 20_299, "tcp")])
            .collect();
        let call = ground.call(0, json!({ "backend": backend }), json!(ports));
        call.add().success();
        call.add().success();
        call.check().success();
        for port in [20_000, 20_150, 20_297, 20_299] {
            assert!(tcp(&ground.outside, at(NODE[1], port), ground.pod(0), 80, ARRIVES).is_ok(), "{backend}: {port}");
        }
        call.del().success();
        assert_eq!(ground.owned(), [""; 0], "{backend}");
    }
}

#[test]
fn two_thousand_ports_cost_no_more_than_one() {
    let grounds = [(); 2].map(|()| Ground::new(&["a"]));
    let ports = json!([port(8080, 80, "tcp"), port_of(NODE[0], 8081, "tcp")]);
    let calls = grounds.each_ref().map(|ground| ground.call(0, json!({}), ports.clone()));
    calls.iter().for_each(|call| _ = call.add().success());
    let mut load = String::new();
    for number in 0..2000 {
        let owner = format!("comment \"podlink:net/pod-{number}/eth0\"");
        let (port, pod) = (10_000 + number, format!("10.1.{}.{}", 4 + number / 200, 1 + number % 200));
        let map = "add element inet podlink_hostport";
        load += &format!("{map} any4 {{ tcp . {port} {owner} : {pod} . 80 }}\n");
        load += &format!("{map} claims {{ ipv4 . tcp . {port} : 0 }}\n");
        load += &format!("{map} address4 {{ 192.0.2.1 . udp . {port} {owner} : {pod} . 80 }}\n");
        load += &format!("{map} claims {{ ipv4 . udp . {port} : 1 }}\n");
        load += &format!("{map} hairpin4 {{ \"cni0\" . \"cni0\" . {pod} {owner} }}\n");
        load += &format!(
            "{map} owned {{ \"{number:015x}\" . 0 {owner} : tcp . {port} . ::ffff:0.0.0.0 . ::ffff:{pod} . \"cni0\" }}\n"
        );
    }
    let [few, many] = &grounds;
    many.node.finish(Command::new(need::tool("nft")).args(["-f", "-"]), load.as_bytes()).success();
    // The lengths of what the plugin sends to the kernel and gets back.
    let traffic = |ground: &Ground, call: &Call<'_>| {
        ["DEL", "ADD", "CHECK"].map(|verb| {
            let lines = traced(ground, call, verb, "sendto,recvfrom");
            lines.iter().map(|line| line.rsplit(" = ").next().unwrap_or_default().to_owned()).collect::<Vec<_>>()
        })
    };
    assert_eq!(traffic(many, &calls[1]), traffic(few, &calls[0]));
    // In turns, and the best of several: what else runs on the machine hits both, and only adds.
    let mut best = [[Duration::MAX; 3]; 2];
    for _ in 0..15 {
        for ((ground, call), best) in grounds.iter().zip(&calls).zip(&mut best) {
            let deleting = timed(|| _ = call.del().success());
            let adding = timed(|| _ = call.add().success());
            // The pod refuses at once; each connection is translated anew.
            let connect = || (0..100).for_each(|_| drop(TcpStream::connect(at(NODE[0], 8080))));
            let connecting = ground.outside.run(|| timed(connect));
            for (best, time) in best.iter_mut().zip([deleting, adding, connecting]) {
                *best = time.min(*best);
            }
        }
    }
    println!("DEL, ADD and 100 connections take {:?} with few ports, {:?} with 2,000", best[0], best[1]);
    assert!(tcp(&many.outside, at(NODE[0], 8080), many.pod(0), 80, ARRIVES).is_ok());
    for (index, what) in ["DEL", "ADD", "connecting"].into_iter().enumerate() {
        let [few, many] = [best[0][index], best[1][index]];
        let ratio = many.as_secs_f64() / few.as_secs_f64();
        // Only what grows with the number of ports would be more than noise.
        assert!(ratio < 2.0, "{what} takes {ratio:.2} times as long with 2,000 ports: {few:?}, {many:?}");
    }
}

fn timed(work: impl FnOnce()) -> Duration {
    let begin = Instant::now();
    work();
    begin.elapsed()
}
