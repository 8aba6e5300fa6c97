//! Pods come and go while the tools run beside them, several at once.

use std::sync::atomic::{AtomicBool, Ordering};

use podlink_tests::{BinDir, PodId};
use serde_json::json;

use crate::site::{Records, Site};

const WORKERS: u16 = 4;
const ROUNDS: u16 = 8;
/// Namespaces that are made and removed again.
const PASSING: usize = 300;

#[test]
fn two_collectors_among_adds_and_dels_never_touch_a_living_pod() {
    let site = Site::new("10.219.31.0/24");
    // Records are kept, so that a missing one is a proof: as it is of each ADD that has not ended yet.
    std::fs::create_dir_all(site.node.outside("/var/lib/cni/results")).unwrap();
    let is_over = AtomicBool::new(false);
    let site = &site;
    let collected: usize = std::thread::scope(|scope| {
        let collectors: Vec<_> = (0..2)
            .map(|_| {
                let is_over = &is_over;
                scope.spawn(move || {
                    let mut collected = 0;
                    while !is_over.load(Ordering::Relaxed) {
                        collected += site.gc().len();
                    }
                    collected
                })
            })
            .collect();
        let workers: Vec<_> = (0..WORKERS).map(|worker| scope.spawn(move || work(site, worker))).collect();
        let ended: Vec<_> = workers.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
        is_over.store(true, Ordering::Relaxed);
        let collected = collectors.into_iter().map(|one| one.join().unwrap()).sum();
        ended.into_iter().for_each(|worker| worker.unwrap());
        collected
    });
    site.until_no_pair_but(0);
    site.age_all();
    let rest = site.gc().len();
    assert!(collected + rest >= usize::from(WORKERS), "every worker left a dead pod: {collected} + {rest}");
    assert_eq!(site.leaks(), (0, vec![], vec![]));
    assert!(site.node.reserved("net").is_empty());
    assert_eq!(site.rules_with("podlink:net/"), [""; 0]);
}

#[test]
fn namespaces_that_go_meanwhile_keep_nothing_from_being_known() {
    let site = Site::new("10.219.32.0/24");
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Fails where a namespace is said to be there and out of reach.
        let collector = scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                assert_eq!(site.gc(), [""; 0]);
            }
        });
        for _ in 0..PASSING {
            site.node.pod("passing").destroy();
        }
        is_over.store(true, Ordering::Relaxed);
        collector.join().unwrap();
    });
}

/// Adds pods and deletes them, and looks after each step whether all of it is still there.
fn work(site: &Site, worker: u16) {
    // As seen by a plugin that reserves first and shows nothing of itself for a while.
    let config = json!({
        "cniVersion": "1.0.0", "name": "net", "type": "macvlan",
        "ipam": { "type": "host-local", "ranges": [[{ "subnet": "10.219.31.0/24" }]] },
    });
    let held = || podlink_tests::files::below(&site.node.outside("/var/lib/cni/networks/net"));
    for round in 0..ROUNDS {
        let pod = site.node.pod(&format!("w{worker}r{round}"));
        let port = 9000 + worker * 100 + round;
        let address = site.add(&pod, Records::Kept, port);
        let container_id = held()[&address].split('\r').next().unwrap().to_owned();
        let still_there = || {
            let now = held();
            assert!(now.get(&address).is_some_and(|text| text.starts_with(&container_id)), "{address} was released");
            assert_eq!(pod.addresses("eth0").iter().filter(|one| one.starts_with(&format!("{address}/"))).count(), 1);
            assert!(!site.rules_with(&container_id).is_empty(), "the rules of a living pod were removed");
        };
        still_there();
        // One pod lives for an hour, with everything about it old.
        site.age(&address);
        let half = PodId { container_id: format!("half-w{worker}r{round}"), ..pod.id().clone() };
        let bins = if round % 2 == 0 { BinDir::reference() } else { BinDir::ours() };
        let reserve = site.node.plugin(&bins, "host-local").config(&config).pod(&half);
        reserve.add().success();
        still_there();
        assert!(held().values().any(|text| text.starts_with(&half.container_id)), "an ADD under way lost its address");
        reserve.del().success();
        if round == ROUNDS - 1 {
            pod.destroy();
            return;
        }
        still_there();
        site.runtime("del", &pod, Records::Kept, port).success();
    }
}
