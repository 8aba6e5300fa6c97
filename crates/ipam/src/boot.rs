//! Which boot of which node a reservation was made in: no network namespace, and so no pod, outlives one.
//!
//! The mark is an extended attribute of the address file, since its content is the reference's and compared as a whole. It
//! lives as long as the file and no index has to be kept for it. Where the file system has no such attributes, and on files
//! that the reference wrote, there is none, and nothing is concluded.

use std::fs::{self, File};
use std::hash::Hasher;

use rustix::fs::{XattrFlags, fgetxattr, fsetxattr};
use siphasher::sip::SipHasher13;

/// The name of the attribute.
const ATTRIBUTE: &str = "user.podlink.boot";
/// What the kernel makes anew at each boot (random(4)).
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
/// What the system was installed as (machine-id(5)).
const MACHINE_ID: &str = "/etc/machine-id";
/// A boot ID is 36 bytes long, the node 8, and a space. ext4 keeps this much beside the inode.
const LONGEST: usize = 45;

/// When a reservation was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Boot {
    /// Since this node was started.
    This,
    /// Before. Whoever held it is dead.
    Earlier,
    /// Not recorded, or by another node that has this directory too.
    Unknown,
}

/// This boot of this node: `<boot ID> <hash of the host's name and machine ID>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mark(String);

impl Mark {
    /// `None` where the kernel does not tell.
    pub(crate) fn current() -> Option<Self> {
        let boot = fs::read_to_string(BOOT_ID).ok()?;
        let mut node = SipHasher13::new();
        node.write(rustix::system::uname().nodename().to_bytes());
        // Where two nodes have one name. A node without this file has its name alone.
        node.write(&fs::read(MACHINE_ID).unwrap_or_default());
        let mark = format!("{} {:08x}", boot.trim(), node.finish() >> 32);
        (mark.len() == LONGEST).then_some(Self(mark))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Writes it on a file. Without it the reservation is only not reclaimed by itself.
    pub(crate) fn put_on(&self, file: &File) {
        let _ = fsetxattr(file, ATTRIBUTE, self.0.as_bytes(), XattrFlags::empty());
    }

    /// Reads what is on a file.
    pub(crate) fn compare(&self, file: &File) -> Boot {
        let mut buffer = [0; LONGEST];
        match fgetxattr(file, ATTRIBUTE, &mut buffer) {
            Ok(LONGEST) if buffer == self.0.as_bytes() => Boot::This,
            Ok(LONGEST) if buffer[36..] == self.0.as_bytes()[36..] => Boot::Earlier,
            _ => Boot::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_boots_and_nodes_apart() {
        let file = tempfile::tempfile().unwrap();
        let boots = ["00000000-0000-0000-0000-000000000001 aaaaaaaa", "00000000-0000-0000-0000-000000000002 aaaaaaaa"];
        let [first, second] = boots.map(|mark| Mark(mark.to_owned()));
        assert_eq!(first.compare(&file), Boot::Unknown);
        first.put_on(&file);
        assert_eq!((first.compare(&file), second.compare(&file)), (Boot::This, Boot::Earlier));
        let other_node = Mark("00000000-0000-0000-0000-000000000002 bbbbbbbb".to_owned());
        assert_eq!(other_node.compare(&file), Boot::Unknown);
        for damaged in [&b""[..], b"longer than any mark that was ever written by anybody", &[0xff; LONGEST]] {
            fsetxattr(&file, ATTRIBUTE, damaged, XattrFlags::empty()).unwrap();
            assert_eq!(first.compare(&file), Boot::Unknown, "{damaged:?}");
        }
        assert_eq!(Mark::current(), Mark::current());
        assert!(Mark::current().is_some());
    }
}
