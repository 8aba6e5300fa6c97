//! What is on disk after each call, and what is made of what others left there.
#![allow(clippy::unwrap_used, reason = "a failed test is a panic")]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use common::{files, given, ip, pod, sets};
use ipam::{Attachment, Error, Holder, Store};

fn store() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::new(dir.path(), "net").unwrap();
    (dir, store)
}

#[test]
fn every_byte_and_mode_is_the_references() {
    let (dir, _) = store();
    let store = Store::new(&dir.path().join("made/on/the/way"), "net").unwrap();
    let sets = sets(&["10.1.0.0/24", "2001:db8::/64"]);
    assert_eq!(given(&store, &Attachment::new(" c1\n", "eth0"), &sets, &[]).unwrap(), ["10.1.0.2", "2001:db8::2"]);
    let expected = [
        ("10.1.0.2", &b"c1\r\neth0"[..]),
        ("2001:db8::2", b"c1\r\neth0"),
        ("last_reserved_ip.0", b"10.1.0.2"),
        ("last_reserved_ip.1", b"2001:db8::2"),
        ("lock", b""),
    ];
    assert_eq!(files(&store), expected.map(|(name, content)| (name.to_owned(), content.to_vec())).into());

    let status = fs::read_to_string("/proc/self/status").unwrap();
    let umask = status.lines().find_map(|line| line.strip_prefix("Umask:")).unwrap();
    let umask = u32::from_str_radix(umask.trim(), 8).unwrap();
    let mode = |name: &str| fs::metadata(store.dir().join(name)).unwrap().permissions().mode() & 0o7777;
    for (name, reference) in [("10.1.0.2", 0o644), ("last_reserved_ip.0", 0o644), ("lock", 0o750), (".", 0o755)] {
        assert_eq!(mode(name), reference & !umask, "{name}");
    }
}

#[test]
fn release_takes_everything_of_the_attachment_and_nothing_else() {
    let (_dir, store) = store();
    let both = sets(&["10.1.0.0/24", "2001:db8::/64"]);
    given(&store, &pod("c1"), &both, &[]).unwrap();
    given(&store, &Attachment::new("c1", "net1"), &both, &[]).unwrap();
    fs::write(store.dir().join("192.0.2.9"), "c1\r\neth0").unwrap(); // from a range the config had before
    let released = store.release(&pod("c1")).unwrap();
    assert_eq!(released, [ip("10.1.0.2"), ip("192.0.2.9"), ip("2001:db8::2")]);
    assert!(store.release(&pod("c1")).unwrap().is_empty(), "twice is fine");
    let left: Vec<_> = store.list().unwrap().into_iter().map(|r| (r.address, r.holder)).collect();
    let other = Holder::Attachment(Attachment::new("c1", "net1"));
    assert_eq!(left, [(ip("10.1.0.3"), other.clone()), (ip("2001:db8::3"), other)]);
}

#[test]
fn old_files_without_interface_name_are_the_containers() {
    let (_dir, store) = store();
    let sets = sets(&["10.1.0.0/24"]);
    fs::create_dir(store.dir()).unwrap();
    fs::write(store.dir().join("10.1.0.7"), "c1").unwrap();
    assert_eq!(store.held_by(&pod("c1")).unwrap(), [ip("10.1.0.7")]);
    assert!(matches!(given(&store, &pod("c1"), &sets, &[]), Err(Error::Duplicate { .. })));
    // As in the reference: one of its own hides the old one.
    fs::write(store.dir().join("10.1.0.8"), "c1\r\neth0").unwrap();
    assert_eq!(store.release(&pod("c1")).unwrap(), [ip("10.1.0.8")]);
    assert_eq!(store.release(&pod("c1")).unwrap(), [ip("10.1.0.7")]);
}

#[test]
fn nothing_to_release_creates_nothing() {
    let (dir, store) = store();
    assert!(store.release(&pod("c1")).unwrap().is_empty());
    assert_eq!(store.gc(&[]).unwrap().released, []);
    assert_eq!(store.list().unwrap(), []);
    assert!(store.held_by(&pod("c1")).unwrap().is_empty());
    assert_eq!(store.status(&sets(&["10.1.0.0/24"])).unwrap()[0].used, 0);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn several_sets_are_all_or_nothing() {
    let (_dir, store) = store();
    let sets = sets(&["10.1.0.0/24", "10.2.0.0/30"]);
    given(&store, &pod("c1"), &sets, &[]).unwrap();
    let before = files(&store);
    let error = given(&store, &pod("c2"), &sets, &[]).unwrap_err();
    assert!(matches!(&error, Error::Full { set: 1, usage, .. } if usage.capacity == 1 && usage.used == 1), "{error}");
    assert_eq!(files(&store), before);
}

#[test]
fn requested_addresses() {
    let (_dir, store) = store();
    let sets = sets(&["10.1.0.0/24", "10.2.0.0/24,10.2.0.5-10.2.0.9"]);
    assert_eq!(given(&store, &pod("c1"), &sets, &["10.2.0.6", "10.1.0.9"]).unwrap(), ["10.1.0.9", "10.2.0.6"]);
    assert_eq!(given(&store, &pod("c2"), &sets, &["10.2.0.9", "10.2.0.9"]).unwrap(), ["10.1.0.10", "10.2.0.9"]);
    assert_eq!(given(&store, &pod("c3"), &sets, &[]).unwrap(), ["10.1.0.11", "10.2.0.5"], "round robin goes on there");
    let before = files(&store);
    for (requested, message) in [
        (&["10.1.0.9"][..], "10.1.0.9 of network net is not available: container c1 interface eth0 has it"),
        (&["10.2.0.4"], "10.2.0.4 is in no range set of the network (10.1.0.1-10.1.0.254; 10.2.0.5-10.2.0.9)"),
        (&["10.1.0.1"], "10.1.0.1 of network net is the gateway"),
        (&["10.1.0.30", "10.1.0.31"], "10.1.0.30 and 10.1.0.31 are both in range set 0"),
        (&["10.1.0.30", "fd00::1", "10.3.0.1"], "fd00::1, 10.3.0.1 are in no range set"),
        (&["::ffff:10.1.0.30"], "is in no range set"),
    ] {
        let error = given(&store, &pod("c9"), &sets, requested).unwrap_err().to_string();
        assert!(error.contains(message), "{requested:?}: {error}");
        assert_eq!(files(&store), before, "{requested:?}");
    }
}

#[test]
fn network_and_broadcast_addresses_are_never_given_out() {
    let (_dir, store) = store();
    let sets = sets(&["10.1.0.0/30,10.1.0.0-10.1.0.3"]);
    for (address, role) in [("10.1.0.0", "network address"), ("10.1.0.3", "broadcast address")] {
        let error = given(&store, &pod("c1"), &sets, &[address]).unwrap_err().to_string();
        assert!(error.contains(role), "{error}");
    }
    assert_eq!(given(&store, &pod("c1"), &sets, &[]).unwrap(), ["10.1.0.2"]);
    let full = given(&store, &pod("c2"), &sets, &[]).unwrap_err().to_string();
    assert!(full.contains("no IP addresses available in range set 0 of network net (10.1.0.0-10.1.0.3)"), "{full}");
    assert!(full.contains("1 of its 1 addresses are held"), "{full}");
    assert!(full.contains(store.dir().to_str().unwrap()), "{full}");
}

#[test]
fn a_second_add_is_refused_and_touches_nothing() {
    let (_dir, store) = store();
    let sets = sets(&["10.1.0.0/24"]);
    given(&store, &pod("c1"), &sets, &[]).unwrap();
    let before = files(&store);
    for requested in [&[][..], &["10.1.0.77"]] {
        let error = given(&store, &pod("c1"), &sets, requested).unwrap_err().to_string();
        assert!(error.contains("10.1.0.2 has been allocated to container c1 interface eth0"), "{error}");
        assert!(error.contains("duplicate allocation is not allowed"), "{error}");
        assert!(error.contains(store.dir().join("10.1.0.2").to_str().unwrap()), "{error}");
        assert_eq!(files(&store), before);
    }
    given(&store, &Attachment::new("c1", "net1"), &sets, &[]).unwrap();
}

#[test]
fn damaged_files_are_freed_by_the_next_add_and_reported() {
    let (_dir, store) = store();
    let sets = sets(&["10.1.0.0/29"]);
    fs::create_dir(store.dir()).unwrap();
    let write = |name: &str, content: &[u8]| fs::write(store.dir().join(name), content).unwrap();
    write("10.1.0.2", b"");
    write("10.1.0.3", b"\0\0\0\0\0\0\0\0");
    write("10.1.0.4", b"kept for the printer");
    write("last_reserved_ip.0", b"\0\0\0");
    fs::create_dir(store.dir().join("10.1.0.5")).unwrap();
    let allocation = store.allocate(&pod("c1"), &sets, &[]).unwrap();
    assert_eq!(allocation.addresses[0].address.to_string(), "10.1.0.2/29");
    let freed = allocation.freed;
    let mut freed: Vec<_> = freed.into_iter().map(|reservation| reservation.file).collect();
    freed.sort();
    assert_eq!(freed, [store.dir().join("10.1.0.2"), store.dir().join("10.1.0.3")]);
    assert_eq!(given(&store, &pod("c2"), &sets, &[]).unwrap(), ["10.1.0.3"]);
    assert_eq!(given(&store, &pod("c3"), &sets, &[]).unwrap(), ["10.1.0.6"], "what no plugin wrote stays taken");
    let error = given(&store, &pod("c4"), &sets, &["10.1.0.4"]).unwrap_err().to_string();
    assert!(error.contains("kept for the printer"), "{error}");
}

#[test]
fn a_failed_add_does_not_even_free_damaged_files() {
    let (_dir, store) = store();
    let sets = sets(&["10.1.0.0/29"]);
    fs::create_dir(store.dir()).unwrap();
    fs::write(store.dir().join("10.1.0.2"), "").unwrap();
    fs::write(store.dir().join("10.1.0.3"), "c1\r\neth0").unwrap();
    given(&store, &pod("c2"), &sets, &["10.1.0.3"]).unwrap_err();
    assert_eq!(fs::read(store.dir().join("10.1.0.2")).unwrap(), b"");
}

/// A process killed between `link` and removing the temporary file leaves two names for one file.
#[test]
fn a_left_over_temporary_file_never_harms_the_reservation_it_is_linked_to() {
    let (_dir, store) = store();
    let sets = sets(&["10.1.0.0/24"]);
    given(&store, &pod("c1"), &sets, &[]).unwrap();
    let left_over = store.dir().join(".podlink-new");
    let leave = || fs::hard_link(store.dir().join("10.1.0.2"), &left_over).unwrap();
    leave();
    given(&store, &pod("a-much-longer-name"), &sets, &[]).unwrap();
    assert_eq!(fs::read(store.dir().join("10.1.0.2")).unwrap(), b"c1\r\neth0");
    assert!(!left_over.exists());
    leave();
    assert_eq!(store.list().unwrap().len(), 2, "it is no reservation");
    store.release(&pod("other")).unwrap();
    assert!(!left_over.exists(), "any DEL sweeps it");
    leave();
    assert_eq!(store.gc(&[pod("c1")]).unwrap().released.len(), 1);
    assert!(!left_over.exists(), "GC sweeps it");
}

#[test]
fn gc_keeps_the_valid_and_what_is_not_ours() {
    let (_dir, store) = store();
    let sets = sets(&["10.1.0.0/24"]);
    given(&store, &pod("live"), &sets, &[]).unwrap();
    given(&store, &Attachment::new("live", "net1"), &sets, &[]).unwrap();
    given(&store, &pod("dead"), &sets, &[]).unwrap();
    let write = |name: &str, content: &str| fs::write(store.dir().join(name), content).unwrap();
    write("10.1.0.20", "live");
    write("10.1.0.21", "dead");
    write("10.1.0.22", "");
    write("10.1.0.23", "kept for the printer");
    let collected = store.gc(&[pod("live")]).unwrap();
    assert!(collected.failures.is_empty());
    let released: Vec<_> = collected.released.iter().map(|r| r.address.to_string()).collect();
    assert_eq!(released, ["10.1.0.3", "10.1.0.4", "10.1.0.21", "10.1.0.22"]);
    let kept = |store: &Store| store.list().unwrap().into_iter().map(|r| r.address.to_string()).collect::<Vec<_>>();
    assert_eq!(kept(&store), ["10.1.0.2", "10.1.0.20", "10.1.0.23"]);
    assert_eq!(store.gc(&[]).unwrap().released.len(), 2);
    assert_eq!(kept(&store), ["10.1.0.23"]);
}

#[test]
fn a_temporary_file_that_cannot_be_removed_stops_neither_gc_nor_release() {
    let (_dir, store) = store();
    fs::create_dir(store.dir()).unwrap();
    for name in ["10.1.0.2", "10.1.0.3", "10.1.0.4"] {
        fs::write(store.dir().join(name), "c1\r\neth0").unwrap();
    }
    // A directory is what unlink cannot remove, also for root. GC and DEL sweep the temporary file first.
    fs::create_dir(store.dir().join(".podlink-new")).unwrap();
    let collected = store.gc(&[]).unwrap();
    assert_eq!((collected.released.len(), collected.failures.len()), (3, 1));
    fs::write(store.dir().join("10.1.0.2"), "c1\r\neth0").unwrap();
    assert_eq!(store.release(&pod("c1")).unwrap(), [ip("10.1.0.2")]);
    let error = given(&store, &pod("c1"), &sets(&["10.1.0.0/24"]), &[]).unwrap_err().to_string();
    assert!(error.contains(".podlink-new"), "{error}");
    assert_eq!(store.list().unwrap(), []);
}

#[test]
fn status_counts() {
    let (_dir, store) = store();
    let sets = sets(&["10.1.0.0/29 10.1.1.0/30", "2001:db8::/64"]);
    given(&store, &pod("c1"), &sets, &[]).unwrap();
    fs::write(store.dir().join("10.1.0.1"), "the gateway, held by mistake").unwrap();
    fs::write(store.dir().join("192.0.2.1"), "elsewhere").unwrap();
    let usage = store.status(&sets).unwrap();
    assert_eq!((usage[0].capacity, usage[0].used, usage[0].free()), (6, 1, 5));
    assert_eq!((usage[1].capacity, usage[1].used), (u128::from(u64::MAX) - 1, 1));
}

#[test]
fn a_file_in_the_place_of_the_directory_is_a_clear_error() {
    let (dir, store) = store();
    fs::write(store.dir(), "").unwrap();
    let sets = sets(&["10.1.0.0/24"]);
    for error in [
        given(&store, &pod("c1"), &sets, &[]).unwrap_err(),
        store.release(&pod("c1")).unwrap_err(),
        store.status(&sets).unwrap_err(),
    ] {
        assert!(error.to_string().contains(dir.path().to_str().unwrap()), "{error}");
        assert!(error.to_string().contains("a file is in the place of a directory"), "{error}");
    }
}

#[test]
fn names_that_leave_the_data_directory_are_refused() {
    for name in ["", ".", "..", "../x", "a/b", "/abs", ".podlink", "a\0b"] {
        assert!(matches!(Store::new("/nowhere".as_ref(), name), Err(Error::NetworkName { .. })), "{name:?}");
    }
}

/// Both must need a number of steps that follows from what is taken, not from the size of the range.
#[test]
fn huge_and_full_ranges() {
    let (_dir, store) = store();
    let huge = sets(&["::/0,::1-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"]);
    assert_eq!(given(&store, &pod("c1"), &huge, &[]).unwrap(), ["::2"]);
    let slash21 = sets(&["10.7.0.0/21"]);
    for host in 2..2047u32 {
        let address = std::net::Ipv4Addr::from_bits(0x0a07_0000 + host);
        fs::write(store.dir().join(address.to_string()), format!("other{host}\r\neth0")).unwrap();
    }
    let error = given(&store, &pod("c2"), &slash21, &[]).unwrap_err();
    assert!(matches!(&error, Error::Full { usage, .. } if usage.capacity == 2045 && usage.free() == 0), "{error}");
    fs::remove_file(store.dir().join("10.7.3.77")).unwrap();
    assert_eq!(given(&store, &pod("c2"), &slash21, &[]).unwrap(), ["10.7.3.77"]);
}

#[test]
fn a_lock_held_too_long_is_reported_and_nothing_changes() {
    let (_dir, store) = store();
    let store = store.with_lock_deadline(Duration::from_millis(10));
    let sets = sets(&["10.1.0.0/24"]);
    given(&store, &pod("c1"), &sets, &[]).unwrap();
    let before = files(&store);
    let lock = fs::File::open(store.dir().join("lock")).unwrap();
    lock.lock().unwrap();
    assert!(matches!(given(&store, &pod("c2"), &sets, &[]), Err(Error::LockTimeout { holder: Some(_), .. })));
    assert!(matches!(store.release(&pod("c1")), Err(Error::LockTimeout { .. })));
    assert!(matches!(store.gc(&[]), Err(Error::LockTimeout { .. })));
    assert_eq!(store.held_by(&pod("c1")).unwrap().len(), 1, "looking needs no lock");
    assert_eq!(files(&store), before);
}
