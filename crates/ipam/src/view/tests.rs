use std::fs::{self, File, FileTimes};
use std::time::SystemTime;

use super::*;
use crate::range::Range;
use crate::range_set::RangeSets;
use crate::store::Store;

fn sets(subnet: &str) -> RangeSets {
    let range = Range::new(subnet.parse().unwrap(), None, None, None).unwrap();
    RangeSets::new(vec![RangeSet::new(vec![range]).unwrap()]).unwrap()
}

fn pod(i: usize) -> Attachment {
    Attachment::new(&format!("pod{i}"), "eth0")
}

fn is_from_index(store: &Store) -> bool {
    matches!(View::open(store.dir()).unwrap().source, Source::Index(_))
}

/// A store with ten pods in it, and where its data is.
fn ten_pods() -> (tempfile::TempDir, Store, RangeSets) {
    let dir = tempfile::tempdir().unwrap();
    let (store, sets) = (Store::new(dir.path(), "net").unwrap(), sets("10.1.0.0/16"));
    (0..10).for_each(|i| drop(store.allocate(&pod(i), &sets, &[]).unwrap()));
    (dir, store, sets)
}

#[test]
fn an_index_is_current_after_each_change_of_ours_and_reading_leaves_it_so() {
    let (_dir, store, sets) = ten_pods();
    assert!(is_from_index(&store));
    store.release(&pod(3)).unwrap();
    assert!(is_from_index(&store));
    store.release(&pod(3)).unwrap();
    store.held_by(&pod(4)).unwrap();
    assert_eq!(store.status(&sets).unwrap()[0].used, 9);
    assert!(is_from_index(&store));
    store.gc(&[pod(1), pod(2)]).unwrap();
    assert!(is_from_index(&store));
    assert_eq!(store.status(&sets).unwrap()[0].used, 2);
}

/// Each of these is a change that the directory's own times may hide.
#[test]
fn no_change_by_others_is_overlooked() {
    let put_back = |dir: &Path, times: &fs::Metadata| {
        let times = FileTimes::new().set_modified(times.modified().unwrap()).set_accessed(SystemTime::now());
        File::open(dir).unwrap().set_times(times).unwrap();
    };
    type Change = fn(&Path);
    let changes: [(&str, Change); 4] = [
        ("a file removed", |dir| fs::remove_file(dir.join("10.1.0.5")).unwrap()),
        ("a file added", |dir| fs::write(dir.join("10.1.7.7"), "other\r\neth0").unwrap()),
        ("a file replaced", |dir| {
            fs::write(dir.join("new"), "other\r\neth0").unwrap();
            fs::rename(dir.join("new"), dir.join("10.1.0.5")).unwrap();
        }),
        ("the directory exchanged", |dir| {
            fs::rename(dir, dir.with_file_name("was")).unwrap();
            fs::create_dir(dir).unwrap();
        }),
    ];
    for (what, change) in changes {
        for restore_time in [false, true] {
            let (_dir, store, _) = ten_pods();
            let before = fs::metadata(store.dir()).unwrap();
            change(store.dir());
            if restore_time {
                put_back(store.dir(), &before);
            }
            assert!(!is_from_index(&store), "{what}, time put back: {restore_time}");
            store.release(&pod(9)).unwrap();
            assert!(!store.dir().exists() || is_from_index(&store), "{what}: made anew");
        }
    }
}

#[test]
fn a_file_edited_in_place_is_not_taken_for_what_it_was() {
    let (_dir, store, _) = ten_pods();
    let held = store.held_by(&pod(3)).unwrap();
    fs::write(store.dir().join(held[0].to_string()), "other\r\neth0").unwrap();
    assert!(is_from_index(&store), "which no look at the directory can tell");
    assert!(store.release(&pod(3)).unwrap().is_empty());
    assert_eq!(store.held_by(&Attachment::new("other", "eth0")).unwrap(), held);
}

#[test]
fn damage_in_the_index_is_no_damage() {
    let (dir, store, sets) = ten_pods();
    let index = dir.path().join(".podlink/net/index");
    let good = fs::read(&index).unwrap();
    // Every byte of what is not empty, one after the other.
    for at in (0..good.len()).filter(|at| good[*at] != 0) {
        let mut bad = good.clone();
        bad[at] ^= 0xff;
        fs::write(&index, &bad).unwrap();
        let mut view = View::open(store.dir()).unwrap();
        let held = view.held_by(&pod(3)).unwrap();
        assert!(held.iter().all(|r| r.holder.is(&pod(3))), "byte {at}: {held:?}");
        view.usage(&sets[0]);
    }
    for length in [0, 1, 100, 4095, 4096, 4200, good.len() as u64 - 1] {
        fs::write(&index, &good[..length as usize]).unwrap();
        assert_eq!(store.held_by(&pod(3)).unwrap().len(), 1, "{length} bytes");
    }
}

#[test]
fn it_grows_and_shrinks_with_thousands() {
    let (_dir, store, sets) = ten_pods();
    const PODS: usize = 2_000;
    let given: Vec<_> =
        (10..PODS).map(|i| (i, store.allocate(&pod(i), &sets, &[]).unwrap().addresses[0].address.ip())).collect();
    assert!(is_from_index(&store));
    assert_eq!(store.status(&sets).unwrap()[0].used, PODS as u128);
    // In an order that is not theirs.
    for step in 0..7 {
        for (i, address) in given.iter().skip(step).step_by(7) {
            assert_eq!(store.release(&pod(*i)).unwrap(), [*address]);
        }
    }
    assert!(is_from_index(&store));
    assert_eq!(store.status(&sets).unwrap()[0].used, 10);
    assert_eq!(store.list().unwrap().len(), 10);
}

#[test]
fn both_families_share_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::new(dir.path(), "net").unwrap();
    let sets = RangeSets::new(vec![sets("10.1.0.0/24")[0].clone(), sets("2001:db8::/64")[0].clone()]).unwrap();
    let given = |i| store.allocate(&pod(i), &sets, &[]).unwrap().addresses.iter().map(|a| a.address.ip()).collect();
    let given: Vec<Vec<IpAddr>> = (0..40).map(given).collect();
    assert!(is_from_index(&store));
    assert_eq!(store.status(&sets).unwrap().iter().map(|usage| usage.used).collect::<Vec<_>>(), [40, 40]);
    given.iter().enumerate().for_each(|(i, addresses)| assert_eq!(store.release(&pod(i)).unwrap(), *addresses));
    assert_eq!(store.list().unwrap(), []);
}

#[test]
fn the_index_counts_what_the_files_say() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::new(dir.path(), "net").unwrap();
    let range = |start: &str, end: &str| {
        let bound = |text: &str| Some(text.parse().unwrap());
        Range::new("10.1.0.0/16".parse().unwrap(), bound(start), bound(end), bound("10.1.0.9")).unwrap()
    };
    // Within a block, over several, to the broadcast address.
    let set = RangeSet::new(vec![range("10.1.0.3", "10.1.0.12"), range("10.1.14.0", "10.1.255.255")]).unwrap();
    let sets = RangeSets::new(vec![set]).unwrap();
    fs::create_dir(store.dir()).unwrap();
    let addresses = ["0.2", "0.3", "0.9", "0.12", "0.13", "13.255", "14.0", "16.0", "200.7", "255.255"];
    addresses.iter().for_each(|last| fs::write(store.dir().join(format!("10.1.{last}")), "kept by hand").unwrap());
    let by_files = store.status(&sets).unwrap();
    assert_eq!(by_files[0].used, 5);
    drop(store.allocate(&pod(0), &sets, &[]).unwrap());
    assert!(is_from_index(&store));
    assert_eq!(store.status(&sets).unwrap()[0].used, 6);
    store.release(&pod(0)).unwrap();
    assert_eq!(store.status(&sets).unwrap(), by_files);
}
