//! Listing while others create and delete.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicBool, Ordering},
};

use netlink::{Link, NewBridge};

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
        let listed: Vec<_> = (0..100).map(|_| netlink.links()).collect();
        done.store(true, Ordering::Relaxed);
        let missing = |links: Vec<Link>| {
            names.difference(&links.into_iter().map(|link| link.name).collect::<BTreeSet<_>>()).count()
        };
        let missing: Vec<_> = listed.into_iter().map(|links| missing(links.unwrap())).collect();
        assert!(missing.iter().all(|missing| *missing == 0), "{missing:?}");
    });
}
