//! Our store and the Go host-local plugin in one directory.
#![allow(clippy::unwrap_used, reason = "a failed test is a panic")]

mod common;

use std::collections::HashSet;
use std::fs;
use std::thread;

use common::{files, given, ip, pod, reference, sets};
use ipam::{Attachment, Error, RangeSets, Store};
use serde_json::{Value, json};

fn ranges() -> (RangeSets, Value) {
    let ours = sets(&["10.1.0.0/24", "2001:db8::/64"]);
    (ours, json!([[{ "subnet": "10.1.0.0/24" }], [{ "subnet": "2001:db8::/64" }]]))
}

#[test]
fn an_upgrade_and_a_rollback_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::new(dir.path(), "net").unwrap();
    let (ours, theirs) = ranges();
    // Turn and turn about they give out one sequence.
    assert_eq!(reference(dir.path(), "ADD", &pod("go1"), &theirs).unwrap(), ["10.1.0.2", "2001:db8::2"]);
    assert_eq!(given(&store, &pod("our1"), &ours, &[]).unwrap(), ["10.1.0.3", "2001:db8::3"]);
    assert_eq!(reference(dir.path(), "ADD", &pod("go2"), &theirs).unwrap(), ["10.1.0.4", "2001:db8::4"]);
    assert_eq!(given(&store, &pod("our2"), &ours, &[]).unwrap(), ["10.1.0.5", "2001:db8::5"]);
    // Each sees the other's.
    assert_eq!(store.held_by(&pod("go1")).unwrap(), [ip("10.1.0.2"), ip("2001:db8::2")]);
    assert!(matches!(given(&store, &pod("go1"), &ours, &[]), Err(Error::Duplicate { .. })));
    reference(dir.path(), "CHECK", &pod("our1"), &theirs).unwrap();
    let duplicate = reference(dir.path(), "ADD", &pod("our1"), &theirs).unwrap_err();
    assert!(duplicate.contains("duplicate allocation is not allowed"), "{duplicate}");
    // Each releases the other's.
    store.release(&pod("go1")).unwrap();
    reference(dir.path(), "DEL", &pod("our1"), &theirs).unwrap();
    let left: Vec<_> = files(&store).into_keys().collect();
    let expected =
        ["10.1.0.4", "10.1.0.5", "2001:db8::4", "2001:db8::5", "last_reserved_ip.0", "last_reserved_ip.1", "lock"];
    assert_eq!(left, expected);
}

#[test]
fn the_reference_takes_our_left_over_for_no_address_and_its_del_removes_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::new(dir.path(), "net").unwrap();
    let (ours, theirs) = ranges();
    given(&store, &pod("other"), &ours, &[]).unwrap();
    let left_over = store.dir().join(".podlink-new");
    fs::write(&left_over, "c1\r\neth0").unwrap();
    assert_eq!(reference(dir.path(), "ADD", &pod("c1"), &theirs).unwrap(), ["10.1.0.3", "2001:db8::3"]);
    reference(dir.path(), "DEL", &pod("c1"), &theirs).unwrap();
    assert!(!left_over.exists());
}

#[test]
fn both_write_the_same_bytes() {
    let (ours, theirs) = ranges();
    let our_dir = tempfile::tempdir().unwrap();
    let store = Store::new(our_dir.path(), "net").unwrap();
    let their_dir = tempfile::tempdir().unwrap();
    for i in 0..4 {
        let pod = Attachment::new(&format!("c{i}"), "eth0");
        given(&store, &pod, &ours, &[]).unwrap();
        reference(their_dir.path(), "ADD", &pod, &theirs).unwrap();
    }
    store.release(&pod("c1")).unwrap();
    reference(their_dir.path(), "DEL", &pod("c1"), &theirs).unwrap();
    assert_eq!(files(&store), files(&Store::new(their_dir.path(), "net").unwrap()));
}

/// Threads of ours and processes of the reference at once. One range is so small that it runs full on the way.
#[test]
fn a_storm_of_both_gives_no_address_twice_and_loses_none() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::new(dir.path(), "net").unwrap();
    let (ours, theirs) = (sets(&["10.1.0.0/26"]), json!([[{ "subnet": "10.1.0.0/26" }]]));
    let worker = |number: usize| {
        let mut held = Vec::new();
        for round in 0..12 {
            let pod = pod(&format!("c{number}-{round}"));
            let with_reference = number.is_multiple_of(4);
            let address = if with_reference {
                reference(dir.path(), "ADD", &pod, &theirs).ok().map(|given| given[0].clone())
            } else {
                match given(&store, &pod, &ours, &[]) {
                    Ok(given) => Some(given[0].clone()),
                    Err(Error::Full { .. }) => None,
                    Err(error) => panic!("{error}"),
                }
            };
            match address {
                // Half of them stay; released by the side that did not reserve them.
                Some(_) if round % 2 == 0 && with_reference => drop(store.release(&pod).unwrap()),
                Some(_) if round % 2 == 0 && number % 4 == 1 => {
                    drop(reference(dir.path(), "DEL", &pod, &theirs).unwrap());
                }
                Some(_) if round % 2 == 0 => drop(store.release(&pod).unwrap()),
                Some(address) => held.push((address, pod)),
                None => {}
            }
        }
        held
    };
    let held: Vec<(String, Attachment)> = thread::scope(|scope| {
        let workers: Vec<_> = (0..12).map(|number| scope.spawn(move || worker(number))).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    let distinct: HashSet<_> = held.iter().map(|(address, _)| address).collect();
    assert_eq!(distinct.len(), held.len(), "an address was given twice");
    for (address, pod) in &held {
        assert_eq!(store.held_by(pod).unwrap(), [ip(address)]);
    }
    assert_eq!(store.list().unwrap().len(), held.len(), "a reservation has no owner");
    assert_eq!(held.len(), 61, "the range should have run full");
}
