//! The store against a plain model, over random sequences of our calls and of what others do to the directory.
#![allow(clippy::unwrap_used, reason = "a failed test is a panic")]

mod common;

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::net::IpAddr;

use common::{files, ip, sets};
use ipam::{Attachment, Error, RangeSets, Store};
use proptest::prelude::*;

const SETS: [&str; 2] = ["10.0.0.0/29 10.0.1.0/30,10.0.1.0-10.0.1.3", "2001:db8::/125"];

/// The same in order of allocation, with what is never given out left out.
const ORDER: [&[&str]; 2] = [
    &["10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6", "10.0.1.2"],
    &["2001:db8::2", "2001:db8::3", "2001:db8::4", "2001:db8::5", "2001:db8::6", "2001:db8::7"],
];

/// Not to be given out, or in no set.
const OTHERS: [&str; 5] = ["10.0.0.1", "10.0.1.0", "10.0.1.3", "2001:db8::1", "192.0.2.1"];

#[derive(Debug, Clone)]
enum Step {
    Allocate(Attachment, Vec<IpAddr>),
    Release(Attachment),
    Collect(Vec<Attachment>),
    /// Somebody else writes a file: a reservation in either format, garbage, or a note of the operator's.
    Write(IpAddr, Vec<u8>),
    Remove(IpAddr),
    /// `last_reserved_ip.<n>` is damaged.
    Last(usize, &'static str),
    /// A process was killed before its reservation was visible.
    LeftOver(Attachment),
    /// Something happens to the index.
    Index(Damage),
}

#[derive(Debug, Clone, Copy)]
enum Damage {
    Deleted,
    Truncated(u64),
    /// An older one comes back, as from a backup.
    Kept,
    Restored,
}

fn damage() -> impl Strategy<Value = Damage> {
    let restored = prop_oneof![Just(Damage::Kept), Just(Damage::Restored)];
    prop_oneof![Just(Damage::Deleted), (0..8192u64).prop_map(Damage::Truncated), restored]
}

fn attachment() -> impl Strategy<Value = Attachment> {
    (0..5, 0..2)
        .prop_map(|(container, interface)| Attachment::new(&format!("c{container}"), &format!("eth{interface}")))
}

fn address() -> impl Strategy<Value = IpAddr> {
    let all: Vec<_> = ORDER.iter().flat_map(|set| set.iter()).chain(&OTHERS).map(|text| ip(text)).collect();
    proptest::sample::select(all)
}

fn content() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        attachment().prop_map(|a| format!("{}\r\n{}", a.container_id(), a.ifname()).into_bytes()),
        (0..5).prop_map(|container| format!("c{container}").into_bytes()),
        Just(Vec::new()),
        Just(b"\0\0\0".to_vec()),
        Just(b"kept for the printer".to_vec()),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => attachment().prop_map(|a| Step::Allocate(a, Vec::new())),
        3 => (attachment(), prop::collection::vec(address(), 1..3)).prop_map(|(a, wanted)| Step::Allocate(a, wanted)),
        4 => attachment().prop_map(Step::Release),
        1 => prop::collection::vec(attachment(), 0..6).prop_map(Step::Collect),
        3 => (address(), content()).prop_map(|(address, content)| Step::Write(address, content)),
        1 => address().prop_map(Step::Remove),
        1 => (0..2usize, proptest::sample::select(vec!["", "10.0.0.4", "2001:db8::7", "192.0.2.1", "\0\0"]))
            .prop_map(|(set, text)| Step::Last(set, text)),
        1 => attachment().prop_map(Step::LeftOver),
        2 => damage().prop_map(Step::Index),
    ]
}

#[derive(Default)]
struct Model {
    files: BTreeMap<IpAddr, Vec<u8>>,
    last: BTreeMap<usize, String>,
    left_over: bool,
}

fn garbage(content: &[u8]) -> bool {
    content.is_empty() || content.contains(&0)
}

fn line(attachment: &Attachment) -> Vec<u8> {
    format!("{}\r\n{}", attachment.container_id(), attachment.ifname()).into_bytes()
}

impl Model {
    fn held(&self, attachment: &Attachment) -> Vec<IpAddr> {
        let with = |content: &[u8]| -> Vec<IpAddr> {
            self.files.iter().filter(|(_, c)| *c == content).map(|(address, _)| *address).collect()
        };
        let own = with(&line(attachment));
        if own.is_empty() { with(attachment.container_id().as_bytes()) } else { own }
    }

    /// The addresses given, or `None` when it must fail.
    fn allocate(&mut self, attachment: &Attachment, wanted: &[IpAddr]) -> Option<Vec<IpAddr>> {
        let order: Vec<Vec<IpAddr>> = ORDER.iter().map(|set| set.iter().map(|text| ip(text)).collect()).collect();
        let in_set = |address: &IpAddr| order.iter().any(|set| set.contains(address));
        if !wanted.iter().all(in_set) {
            return None;
        }
        let anywhere = |address: &IpAddr| in_set(address) || *address != ip("192.0.2.1");
        if self.held(attachment).iter().any(anywhere) {
            return None;
        }
        let free = |address: &&IpAddr| self.files.get(address).is_none_or(|content| garbage(content));
        let mut picks = Vec::new();
        for (set, order) in order.iter().enumerate() {
            let mut asked: Vec<_> = wanted.iter().filter(|address| order.contains(address)).collect();
            asked.dedup();
            let pick = match asked[..] {
                [] => {
                    let last = self.last.get(&set).and_then(|text| text.parse::<IpAddr>().ok());
                    let turn = last.and_then(|last| order.iter().position(|a| *a == last)).map_or(0, |i| i + 1);
                    order[turn..].iter().chain(&order[..turn]).find(free)?
                }
                [one] => Some(one).filter(free)?,
                _ => return None,
            };
            picks.push(*pick);
        }
        self.files.retain(|_, content| !garbage(content));
        for (set, pick) in picks.iter().enumerate() {
            self.files.insert(*pick, line(attachment));
            self.last.insert(set, pick.to_string());
        }
        self.left_over = false;
        Some(picks)
    }

    fn collect(&mut self, valid: &[Attachment]) {
        self.files.retain(|_, content| {
            let of = |a: &Attachment| *content == line(a) || content == a.container_id().as_bytes();
            content.starts_with(b"kept") || valid.iter().any(of)
        });
        self.left_over = false;
    }
}

fn run(store: &Store, sets: &RangeSets, model: &mut Model, step: &Step) {
    match step {
        Step::Allocate(attachment, wanted) => {
            let ours = store.allocate(attachment, sets, wanted);
            match (ours, model.allocate(attachment, wanted)) {
                (Ok(ours), Some(expected)) => {
                    let ours: Vec<_> = ours.addresses.iter().map(|assigned| assigned.address.ip()).collect();
                    assert_eq!(ours, expected);
                }
                (Err(Error::Io { .. } | Error::LockTimeout { .. }), _) => panic!("the filesystem was fine"),
                (Err(_), None) => {}
                (ours, expected) => panic!("{ours:?}, expected {expected:?}"),
            }
        }
        Step::Release(attachment) => {
            let expected = model.held(attachment);
            assert_eq!(store.held_by(attachment).unwrap(), expected);
            assert_eq!(store.release(attachment).unwrap(), expected);
            expected.iter().for_each(|address| drop(model.files.remove(address)));
            model.left_over = false;
        }
        Step::Collect(valid) => {
            model.collect(valid);
            assert!(store.gc(valid).unwrap().failures.is_empty());
        }
        Step::Write(address, content) => {
            // Not in place: nobody but a person with an editor does that, and an index cannot see it.
            let aside = store.dir().join("aside");
            fs::write(&aside, content).unwrap();
            fs::rename(aside, store.dir().join(address.to_string())).unwrap();
            model.files.insert(*address, content.clone());
        }
        Step::Remove(address) => {
            let _ = fs::remove_file(store.dir().join(address.to_string()));
            model.files.remove(address);
        }
        Step::Last(set, text) => {
            fs::write(store.dir().join(format!("last_reserved_ip.{set}")), text).unwrap();
            model.last.insert(*set, (*text).to_owned());
        }
        Step::LeftOver(attachment) => {
            fs::write(store.dir().join(".podlink-new"), line(attachment)).unwrap();
            model.left_over = true;
        }
        Step::Index(damage) => {
            let index = store.dir().parent().unwrap().join(".podlink/net/index");
            let kept = index.with_extension("kept");
            // There may be none.
            let _ = match damage {
                Damage::Deleted => fs::remove_file(index),
                Damage::Truncated(length) => {
                    OpenOptions::new().write(true).open(index).and_then(|index| index.set_len(*length))
                }
                Damage::Kept => fs::copy(index, kept).map(drop),
                Damage::Restored => fs::copy(kept, index).map(drop),
            };
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn behaves_as_the_model(steps in prop::collection::vec(step(), 1..60)) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path(), "net").unwrap();
        fs::create_dir(store.dir()).unwrap();
        let sets = sets(&SETS);
        let mut model = Model::default();
        for step in &steps {
            run(&store, &sets, &mut model, step);
            let mut expected: BTreeMap<_, _> =
                model.files.iter().map(|(address, content)| (address.to_string(), content.clone())).collect();
            expected.extend(model.last.iter().map(|(set, text)| (format!("last_reserved_ip.{set}"), text.clone().into())));
            let mut found = files(&store);
            prop_assert_eq!(found.remove(".podlink-new").is_some(), model.left_over, "{:?}", step);
            found.remove("lock");
            prop_assert_eq!(found, expected, "after {:?}", step);
        }
    }
}
