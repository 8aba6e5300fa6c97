//! Reservations of an earlier boot, and of an attachment that is added again.
#![allow(clippy::unwrap_used, reason = "a failed test is a panic")]

mod common;

use std::fs;

use common::{given, pod, sets};
use ipam::{Boot, Error, RangeSets, Store};
use rustix::fs::{XattrFlags, getxattr, removexattr, setxattr};

const MARK: &str = "user.podlink.boot";

/// Three pods: 10.1.0.2 to 10.1.0.4.
fn three_pods() -> (tempfile::TempDir, Store, RangeSets) {
    let dir = tempfile::tempdir().unwrap();
    let (store, sets) = (Store::new(dir.path(), "net").unwrap(), sets(&["10.1.0.0/28"]));
    for name in ["a", "b", "c"] {
        given(&store, &pod(name), &sets, &[]).unwrap();
    }
    (dir, store, sets)
}

/// Has these addresses be of another boot of this node, as nothing else can tell.
fn age(store: &Store, addresses: &[&str]) {
    for address in addresses {
        let file = store.dir().join(address);
        let mut mark = [0; 45];
        assert_eq!(getxattr(&file, MARK, &mut mark).unwrap(), 45);
        mark[..8].copy_from_slice(b"00000000");
        setxattr(&file, MARK, &mark, XattrFlags::empty()).unwrap();
    }
    // It was made in that boot, too.
    fs::remove_file(store.dir().with_file_name(".podlink").join("net/index")).unwrap();
}

fn addresses(store: &Store) -> Vec<String> {
    store.list().unwrap().iter().map(|reservation| reservation.address.to_string()).collect()
}

#[test]
fn what_an_earlier_boot_left_is_free_and_this_boots_is_not() {
    let (_dir, store, sets) = three_pods();
    age(&store, &["10.1.0.2", "10.1.0.4"]);
    assert_eq!(store.status(&sets).unwrap()[0].used, 1);
    let allocation = store.allocate(&pod("d"), &sets, &[]).unwrap();
    let freed: Vec<_> = allocation.freed.iter().map(|r| (r.address.to_string(), r.boot)).collect();
    assert_eq!(freed, [("10.1.0.2".to_owned(), Boot::Earlier), ("10.1.0.4".to_owned(), Boot::Earlier)]);
    assert_eq!(addresses(&store), ["10.1.0.3", "10.1.0.5"]);
}

#[test]
fn they_are_reclaimed_though_a_del_of_this_boot_came_first() {
    let (_dir, store, sets) = three_pods();
    age(&store, &["10.1.0.2", "10.1.0.3", "10.1.0.4"]);
    store.release(&pod("b")).unwrap();
    assert_eq!(addresses(&store), ["10.1.0.2", "10.1.0.4"], "a DEL is about its own attachment");
    assert_eq!(store.status(&sets).unwrap()[0].used, 0);
    given(&store, &pod("d"), &sets, &[]).unwrap();
    assert_eq!(addresses(&store), ["10.1.0.5"]);
}

#[test]
fn they_stay_where_that_is_wanted() {
    let (_dir, store, sets) = three_pods();
    let store = store.keep_earlier_boots(true);
    age(&store, &["10.1.0.2", "10.1.0.3", "10.1.0.4"]);
    given(&store, &pod("d"), &sets, &[]).unwrap();
    given(&store, &pod("e"), &sets, &[]).unwrap();
    assert_eq!(store.status(&sets).unwrap()[0].used, 5);
    assert!(matches!(store.allocate(&pod("a"), &sets, &[]), Err(Error::Duplicate { .. })));
}

#[test]
fn without_a_mark_nothing_is_concluded() {
    let (_dir, store, sets) = three_pods();
    removexattr(store.dir().join("10.1.0.2"), MARK).unwrap();
    let file = store.dir().join("10.1.0.3");
    setxattr(file, MARK, b"00000000-0000-0000-0000-000000000000 ffffffff", XattrFlags::empty()).unwrap();
    age(&store, &["10.1.0.4"]);
    given(&store, &pod("d"), &sets, &[]).unwrap();
    assert_eq!(addresses(&store), ["10.1.0.2", "10.1.0.3", "10.1.0.5"]);
    assert_eq!(
        store.list().unwrap().iter().map(|r| r.boot).collect::<Vec<_>>(),
        [Boot::Unknown, Boot::Unknown, Boot::This]
    );
}

#[test]
fn an_attachment_of_an_earlier_boot_gets_its_address_again() {
    let (_dir, store, sets) = three_pods();
    age(&store, &["10.1.0.2", "10.1.0.3", "10.1.0.4"]);
    assert_eq!(given(&store, &pod("b"), &sets, &[]).unwrap(), ["10.1.0.3"]);
    assert_eq!(addresses(&store), ["10.1.0.3"]);
    assert_eq!(store.list().unwrap()[0].boot, Boot::This, "it is not reclaimed from its new holder");
    let error = given(&store, &pod("b"), &sets, &[]).unwrap_err().to_string();
    assert!(error.contains("10.1.0.3 has been allocated to container b interface eth0"), "{error}");
}

#[test]
fn again_with_proof_is_the_same_address_and_without_the_holder_is_named() {
    let (_dir, store, sets) = three_pods();
    let again = |requested: &[&str]| {
        let requested: Vec<_> = requested.iter().map(|text| common::ip(text)).collect();
        let allocation = store.allocate_again(&pod("b"), &sets, &requested)?;
        Ok::<_, Error>(allocation.addresses[0].address.ip().to_string())
    };
    assert!(matches!(store.allocate(&pod("b"), &sets, &[]), Err(Error::Duplicate { .. })));
    assert_eq!(again(&[]).unwrap(), "10.1.0.3");
    assert_eq!(again(&["10.1.0.3"]).unwrap(), "10.1.0.3");
    assert_eq!(again(&["10.1.0.9"]).unwrap(), "10.1.0.9", "what is asked for comes first");
    assert_eq!(addresses(&store), ["10.1.0.2", "10.1.0.4", "10.1.0.9"], "and what it had is free");
    assert!(matches!(again(&["10.1.0.4"]), Err(Error::RequestedTaken { .. })));
    assert_eq!(addresses(&store), ["10.1.0.2", "10.1.0.4", "10.1.0.9"]);

    // The reference's plugins give their interfaces other names: what one of them may be using is not given again.
    removexattr(store.dir().join("10.1.0.9"), MARK).unwrap();
    assert!(matches!(again(&[]), Err(Error::Duplicate { .. })));
}

#[test]
fn again_in_other_ranges_is_another_address() {
    let (_dir, store, _) = three_pods();
    let others = sets(&["10.2.0.0/28"]);
    assert_eq!(given(&store, &pod("b"), &others, &[]).unwrap(), ["10.2.0.2"]);
    assert_eq!(store.release(&pod("b")).unwrap().len(), 2, "a DEL removes both");
}
