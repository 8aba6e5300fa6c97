//! Listing while others create and delete.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicBool, Ordering},
};

use netlink::NewBridge;

use crate::harness::{bridge, namespace};

#[test]
fn a_listing_under_churn_lacks_none_of_the_links_that_stay() {
    let node = namespace();
    let netlink = node.netlink().unwrap();
    // Enough for several datagrams a dump: only between two can a dump be interrupted.
    let names: BTreeSet<String> = (0..80).map(|number| format!("stays{number}")).collect();
    for name in &names {
        netlink.create_bridge(&NewBridge { mac: None, up: false, ..bridge(name) }).unwrap();
    }
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let netlink = node.netlink().unwrap();
            while !done.load(Ordering::Relaxed) {
                netlink.create_bridge(&NewBridge { up: false, ..bridge("comes") }).unwrap();
                assert!(netlink.delete_link("comes").unwrap());
            }
        });
        let missing: Vec<_> = (0..100)
            .map(|_| {
                let listed: BTreeSet<String> = netlink.links().unwrap().into_iter().map(|link| link.name).collect();
                names.difference(&listed).count()
            })
            .collect();
        done.store(true, Ordering::Relaxed);
        assert!(missing.iter().all(|missing| *missing == 0), "{missing:?}");
    });
}
