//! What the kernel's answers cost: microseconds of each call, in a network namespace of its own. Needs root.
//!
//! `cargo run --release -p podlink-nft --example cost`

use std::{
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use nft::{Element, Error, Family, FieldType, Nft, Set, Table, Transaction};
use nix::sched::{CloneFlags, unshare};

const T: Table = Table::new(Family::Inet, "cost");
const ROUNDS: u32 = 300;

fn pod(n: u32) -> Element {
    Element::new(Ipv4Addr::from(0x0a00_0000 + n)).owner("podnet/0123456789abcdef0123456789abcdef0123456789abcdef/eth0")
}

fn median(name: &str, mut samples: Vec<Duration>) {
    samples.sort();
    let at = |part: usize| samples[samples.len() * part / 100].as_secs_f64() * 1e6;
    println!("{name:40} {:9.1} {:9.1}", at(50), at(95));
}

fn timed<T>(samples: &mut Vec<Duration>, run: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    let start = Instant::now();
    let result = run();
    samples.push(start.elapsed());
    result
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    unshare(CloneFlags::CLONE_NEWNET)?;
    println!("{:40} {:>9} {:>9}", "µs", "median", "p95");
    let mut nft = Nft::open()?;
    let mut setup = Transaction::new();
    setup.add_table(&T).add_set(&T, Set::new("pods", [FieldType::Ipv4Addr]));
    setup.add_elements(&T, "pods", (1..=2000).map(pod).collect());
    nft.commit(&setup)?;
    let (mut open, mut add, mut get, mut delete, mut destroy, mut close) = Default::default();
    let mut list = Vec::new();
    for round in 0..ROUNDS {
        let mut nft = timed(&mut open, Nft::open)?;
        let mut tx = Transaction::new();
        tx.add_element(&T, "pods", pod(5000 + round));
        timed(&mut add, || nft.commit(&tx))?;
        timed(&mut get, || nft.element(&T, "pods", Ipv4Addr::from(0x0a00_0000 + 5000 + round)))?;
        let mut tx = Transaction::new();
        tx.delete_elements(&T, "pods", vec![pod(5000 + round)]);
        timed(&mut delete, || nft.commit(&tx))?;
        let mut tx = Transaction::new();
        tx.destroy_elements(&T, "pods", vec![pod(5000 + round)]);
        timed(&mut destroy, || nft.commit(&tx))?;
        timed(&mut close, || {
            drop(nft);
            Ok(())
        })?;
    }
    for _ in 0..50 {
        assert_eq!(timed(&mut list, || nft.elements(&T, "pods"))?.len(), 2000);
    }
    median("open", open);
    median("commit: add one element of 2,000", add);
    median("get one element", get);
    median("commit: delete one element", delete);
    median("commit: destroy one that is missing", destroy);
    median("close after the delete", close);
    median("list 2,000 elements", list);
    Ok(())
}
