//! Hundreds of pods that come and go at once, while GC and STATUS run and the Go host-local works in the same directory.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use podlink_tests::{BinDir, Call, Node, PodId, conf};
use serde_json::{Value, json};

const SUBNETS: [&str; 2] = ["10.1.0.0/23", "fd00:1::/64"];
const PODS: usize = 200;
const AT_ONCE: usize = 32;

/// Who holds what, as the answers say: an entry from the ADD's end to the DEL's beginning.
#[derive(Default)]
struct Holders(Mutex<BTreeMap<IpAddr, String>>);

impl Holders {
    fn change<T>(&self, change: impl FnOnce(&mut BTreeMap<IpAddr, String>) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    #[track_caller]
    fn add(&self, id: &str, result: &Value) {
        let addresses = addresses(result);
        assert_eq!(addresses.len(), 2, "{id}: {result}");
        for address in addresses {
            let before = self.change(|held| held.insert(address, id.to_owned()));
            assert_eq!(before, None, "{address} was given to {id}, too");
        }
    }

    fn remove(&self, id: &str) {
        self.change(|held| held.retain(|_, holder| holder != id));
    }
}

fn addresses(result: &Value) -> Vec<IpAddr> {
    let ips = result["ips"].as_array().into_iter().flatten();
    let texts = ips.filter_map(|ip| ip["address"].as_str()?.split('/').next());
    texts.filter_map(|text| text.parse().ok()).collect()
}

/// Runs `job` for each number below `count`, `AT_ONCE` at a time.
fn in_crowds(count: usize, job: impl Fn(usize) + Sync) {
    let next = AtomicUsize::new(0);
    let work = || {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count {
                return;
            }
            job(number);
        }
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(work)).collect();
        workers.into_iter().for_each(|w| w.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
    });
}

/// GC with everybody who is on the way or there, then STATUS.
fn gc_and_status(node: &Node, config: &Value, valid: &[String]) {
    let valid: Vec<Value> = valid.iter().map(|id| json!({ "containerID": id, "ifname": "eth0" })).collect();
    node.typed(&conf::with(config.clone(), json!({ "cni.dev/valid-attachments": valid }))).run("GC").success();
    node.typed(config).run("STATUS").success();
}

/// Each pod comes, stays a while beside others, and goes; every third comes twice. `call` makes the call about a pod;
/// `others` are attached all the time.
fn storm_beside<'n>(node: &'n Node, config: &Value, others: &[&str], call: impl Fn(usize) -> Call<'n> + Sync) {
    let holders = Holders::default();
    // A runtime knows an attachment from before its ADD until after its DEL.
    let mut all: Vec<String> = (0..PODS).map(|number| format!("pod-p{number}")).collect();
    all.extend(others.iter().map(|id| (*id).to_owned()));
    in_crowds(PODS, |number| {
        let id = &all[number];
        for _ in 0..=usize::from(number % 3 == 0) {
            let call = call(number);
            holders.add(id, &call.add().success());
            if number % 10 == 0 {
                gc_and_status(node, config, &all);
            }
            holders.remove(id);
            call.del().success();
        }
    });
}

#[test]
fn pods_come_and_go_while_gc_and_status_run() {
    let node = Node::new();
    let config = conf::gateway(&SUBNETS, json!({ "isDefaultGateway": true, "ipMasq": true }));
    let pods: Vec<_> = (0..PODS).map(|number| node.pod(&format!("p{number}"))).collect();
    let first = node.pod("stays");
    let stays = node.typed(&config).pod(&first);
    let result = stays.add().success();
    let check = stays.clone().prev_result(&result);
    storm_beside(&node, &config, &["pod-stays"], |number| node.typed(&config).pod(&pods[number]));
    check.check().success();
    stays.del().success();
    assert_eq!((node.link_names(), node.reserved("net")), (vec!["cni0".to_owned()], vec![]));
    assert_eq!(node.rules_of_pods(&["pod-p"]), [""; 0]);
}

#[test]
fn both_host_locals_work_in_one_directory() {
    let node = Node::new();
    let ipam = conf::host_local(&SUBNETS);
    let config = json!({ "cniVersion": "1.1.0", "name": "net", "type": "host-local", "ipam": ipam });
    // The reference knows 1.0.0 at most.
    let old = conf::with(config.clone(), json!({ "cniVersion": "1.0.0" }));
    let (ours, reference) = (BinDir::ours(), BinDir::reference());
    let call = |number: usize| {
        let id = PodId { container_id: format!("pod-p{number}"), netns: "/run/netns/none".into() };
        let (bins, config) = if number.is_multiple_of(2) { (&ours, &config) } else { (&reference, &old) };
        node.plugin(bins, "host-local").config(config).pod(&id)
    };
    storm_beside(&node, &config, &[], call);
    assert_eq!(node.reserved("net"), [""; 0]);
}
