//! A network's directory with any files and any index in it: what we reserve there is one pod's alone, and goes again.
#![no_main]

use std::path::Path;
use std::{fs, str};

use ipam::{Attachment, Range, RangeSet, RangeSets, Store};
use libfuzzer_sys::fuzz_target;

/// `<kind of name><number><length of the content><content>`, repeated.
fn write_files(dir: &Path, mut bytes: &[u8]) {
    while let [kind, number, length, rest @ ..] = bytes {
        let (content, rest) = rest.split_at(rest.len().min(usize::from(*length)));
        bytes = rest;
        let name = match kind % 8 {
            0..3 => format!("net/10.1.0.{number}"),
            3 => format!("net/fd00:1::{number:x}"),
            4 => format!("net/last_reserved_ip.{}", number % 3),
            5 => format!("net/{}", str::from_utf8(content).unwrap_or("odd").replace(['/', '\0', '.'], "_")),
            6 => format!("net/.tmp{number}"),
            _ => "index".to_owned(),
        };
        if name == "index" {
            // Over whatever the index of an allocation before has made.
            for file in fs::read_dir(dir.join(".podlink/net")).into_iter().flatten().flatten() {
                let _ = damage(&file.path(), usize::from(*number), content);
            }
            continue;
        }
        // A name that is taken by a directory or too long is as good as any other.
        let _ = fs::write(dir.join(name), content);
    }
}

/// Puts `content` into the file at an offset, and keeps the times: an index is trusted by them.
fn damage(file: &Path, offset: usize, content: &[u8]) -> std::io::Result<()> {
    let times = fs::metadata(file)?;
    let mut bytes = fs::read(file)?;
    let at = offset.min(bytes.len());
    let end = (at + content.len()).min(bytes.len());
    bytes.splice(at..end, content.iter().copied());
    fs::write(file, bytes)?;
    fs::File::options()
        .write(true)
        .open(file)?
        .set_times(fs::FileTimes::new().set_modified(times.modified()?).set_accessed(times.accessed()?))
}

fuzz_target!(|bytes: &[u8]| {
    let data = tempfile::tempdir_in("/dev/shm").expect("a directory in memory");
    let store = Store::new(data.path(), "net").expect("a valid name");
    let sets = ["10.1.0.0/28", "fd00:1::/124"].map(|subnet| {
        let range = Range::new(subnet.parse().expect("a subnet"), None, None, None).expect("a range");
        RangeSet::new(vec![range]).expect("a set")
    });
    let sets = RangeSets::new(sets.to_vec()).expect("two sets");
    let [first, second] = ["pod-1", "pod-2"].map(|id| Attachment::new(id, "eth0"));
    let _ = store.allocate(&first, &sets, &[]).expect("the range is free");
    write_files(data.path(), bytes);

    let _ = store.list().expect("files that are odd are no error");
    let _ = store.status(&sets).expect("nor here");
    if let Ok(given) = store.allocate(&second, &sets, &[]) {
        for address in &given.addresses {
            let file = fs::read(store.dir().join(address.address.ip().to_string())).expect("the reservation's file");
            assert_eq!(file, b"pod-2\r\neth0");
        }
    }
    let released = store.release(&second);
    let collected = store.gc(&[]);
    // A directory in the place of a file cannot be removed, and no damage that we know of makes one.
    released.expect("a release of what is there");
    collected.expect("GC");
    let left = store.list().expect("a list");
    assert!(!left.iter().any(|left| left.holder.is(&first) || left.holder.is(&second)), "{left:?}");
});
