//! Many processes of ours at once, killed at random.
#![allow(clippy::unwrap_used, reason = "a failed test is a panic")]

mod common;

use std::collections::{HashMap, HashSet};
use std::env;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use common::{files, given, ip, pod, sets};
use ipam::{Error, Store};

const DATA_DIR: &str = "IPAM_STORM_DATA_DIR";
const CHILD: &str = "IPAM_STORM_CHILD";
const ROUNDS: usize = 40;

/// Run in the child processes: allocates without end where `ROUNDS` do not stop it, and prints nothing.
#[test]
#[ignore = "started by the other tests in processes of their own"]
fn child() {
    let (data_dir, name) = (env::var(DATA_DIR).unwrap(), env::var(CHILD).unwrap());
    let store = Store::new(Path::new(&data_dir), "net").unwrap();
    let sets = sets(&["10.1.0.0/22", "2001:db8::/64"]);
    for round in 0..ROUNDS {
        let pod = pod(&format!("{name}-{round}"));
        given(&store, &pod, &sets, &[]).unwrap();
        if round % 2 == 0 {
            assert_eq!(store.release(&pod).unwrap().len(), 2);
        }
    }
}

fn start(data_dir: &Path, name: &str) -> Child {
    Command::new(env::current_exe().unwrap())
        .args(["--exact", "child", "--ignored", "--quiet"])
        .env(DATA_DIR, data_dir)
        .env(CHILD, name)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

fn assert_consistent(store: &Store) -> usize {
    let mut addresses: HashMap<String, usize> = HashMap::new();
    let all = store.list().unwrap();
    for reservation in &all {
        *addresses.entry(reservation.holder.to_string()).or_default() += 1;
    }
    assert!(addresses.values().all(|count| *count <= 2), "an attachment holds more than one address of a set");
    assert!(all.iter().all(|r| matches!(r.holder, ipam::Holder::Attachment(_))), "a half-written file is visible");
    all.len()
}

#[test]
fn processes_do_not_get_in_each_others_way() {
    let dir = tempfile::tempdir().unwrap();
    let children: Vec<_> = (0..8).map(|i| start(dir.path(), &format!("p{i}"))).collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    let store = Store::new(dir.path(), "net").unwrap();
    assert_eq!(assert_consistent(&store), 8 * ROUNDS / 2 * 2);
}

/// Kills are spread over the work by watching how much of it is done, not by the clock.
#[test]
fn killed_processes_leave_only_what_del_removes() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::new(dir.path(), "net").unwrap();
    for victim in 0..12 {
        let name = format!("v{victim}");
        let mut child = start(dir.path(), &name);
        let own = |store: &Store| store.list().unwrap().iter().filter(|r| r.holder.to_string().contains(&name)).count();
        while own(&store) <= victim && child.try_wait().unwrap().is_none() {}
        child.kill().unwrap();
        child.wait().unwrap();
        assert_consistent(&store);
    }
    let holders: HashSet<_> = store.list().unwrap().into_iter().map(|r| r.holder).collect();
    for holder in holders {
        let ipam::Holder::Attachment(attachment) = holder else { panic!("{holder}") };
        assert!(!store.release(&attachment).unwrap().is_empty());
    }
    store.release(&pod("sweeps a left-over")).unwrap();
    let names: Vec<_> = files(&store).into_keys().collect();
    assert_eq!(names, ["last_reserved_ip.0", "last_reserved_ip.1", "lock"]);
}

#[test]
fn threads_compete_for_the_last_addresses() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::new(dir.path(), "net").unwrap();
    let sets = sets(&["10.1.0.0/28"]);
    let compete = |number: usize| match given(&store, &pod(&format!("c{number}")), &sets, &[]) {
        Ok(given) => Some(ip(&given[0])),
        Err(Error::Full { usage, .. }) if usage.used == 13 && usage.capacity == 13 => None,
        Err(error) => panic!("{error}"),
    };
    let given: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..32).map(|number| scope.spawn(move || compete(number))).collect();
        threads.into_iter().filter_map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!((given.len(), given.iter().collect::<HashSet<_>>().len()), (13, 13));
}
