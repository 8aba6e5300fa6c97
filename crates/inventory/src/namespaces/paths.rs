//! Which network namespaces there are, and by which paths they are reached.
//!
//! Found are those of processes (`/proc/<pid>/ns/net`) and those mounted anywhere (`/proc/<pid>/mountinfo`, type nsfs:
//! `/run/netns`, `/run/docker/netns` and others), in whatever mount namespace.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::libc;

use crate::error::Error;

/// Device and inode number, which tell namespaces apart (namespaces(7)).
pub type Identity = (u64, u64);
/// `PROC_PID_INIT_INO` of linux/proc_ns.h: the node's own process IDs.
const INITIAL_PID_NAMESPACE: u64 = 0xEFFF_FFFC;
/// The calling process.
const OWN: &str = "/proc/self";
/// How often a mount that nothing leads to is looked at again.
const LOOKS: usize = 8;

/// Where the namespaces are, and what says that there are more.
#[derive(Default)]
pub struct Paths {
    /// Every path that leads to a namespace.
    pub found: HashMap<Identity, Vec<PathBuf>>,
    /// What is mounted where nothing leads to it, by inode.
    unreached: HashMap<u64, PathBuf>,
    /// Processes whose namespace may not be looked at.
    denied: Vec<PathBuf>,
}

impl Paths {
    /// Looks for them.
    ///
    /// # Errors
    /// [`Error::Proc`] where processes cannot be listed.
    pub fn find() -> Result<Paths, Error> {
        let failed = |source| Error::Proc { path: "/proc".into(), source };
        let mut paths = Paths::default();
        // Paths that people know come before /proc/<pid>.
        let own = Path::new(OWN);
        paths.add_view(&[own.to_owned()]);
        let own = identity(&own.join("ns/mnt")).ok();
        let mut views: HashMap<Identity, Vec<PathBuf>> = HashMap::new();
        for entry in fs::read_dir("/proc").map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if !entry.file_name().as_encoded_bytes().first().is_some_and(u8::is_ascii_digit) {
                continue;
            }
            let process = entry.path();
            // The node's init is in no pod, and some kernels hide it from everybody.
            if entry.file_name() != "1" {
                paths.add_process(&process);
            }
            if let Ok(identity) = identity(&process.join("ns/mnt"))
                && Some(identity) != own
            {
                views.entry(identity).or_default().push(process);
            }
        }
        views.values().for_each(|processes| paths.add_view(processes));
        // A process that is just ending may not be looked at for some microseconds; then it is gone.
        let denied = std::mem::take(&mut paths.denied);
        denied.iter().for_each(|process| paths.add_process(process));
        Ok(paths)
    }

    /// The namespace of a process.
    fn add_process(&mut self, process: &Path) {
        let path = process.join("ns/net");
        match identity(&path) {
            Ok(identity) => self.found.entry(identity).or_default().push(path),
            // It may end at any moment, and has no namespace when it has.
            Err(e) if matches!(e.raw_os_error(), Some(libc::ENOENT | libc::ESRCH)) => {}
            Err(_) => self.denied.push(process.to_owned()),
        }
    }

    /// The namespaces that are mounted where these processes, of one mount namespace, see them. Any of them may end.
    fn add_view(&mut self, processes: &[PathBuf]) {
        // When none of them can say, all have ended, and the mounts with them.
        let _ = processes.iter().any(|process| self.add_mounts(process, processes).is_ok());
    }

    /// As one of the processes sees it.
    fn add_mounts(&mut self, process: &Path, sharing: &[PathBuf]) -> io::Result<()> {
        let mut missed = self.reach_mounts(process, sharing)?;
        // Mostly it was unmounted meanwhile, and is gone or found elsewhere. More than one look, because the next namespace
        // may be mounted there, with the same inode number.
        for _ in 0..LOOKS {
            if missed.is_empty() {
                break;
            }
            let again = self.reach_mounts(process, sharing)?;
            missed.retain(|inode, _| again.contains_key(inode));
        }
        self.unreached.extend(missed);
        Ok(())
    }

    /// Adds what is reached; the rest by inode.
    fn reach_mounts(&mut self, process: &Path, sharing: &[PathBuf]) -> io::Result<HashMap<u64, PathBuf>> {
        let mut missed = HashMap::new();
        for (inode, point) in namespace_mounts(process)? {
            let path = seen_by(process, &point);
            match identity(&path) {
                Ok(identity) if identity.1 == inode => {
                    self.found.entry(identity).or_default().extend(sharing.iter().map(|by| seen_by(by, &point)));
                }
                _ => drop(missed.insert(inode, path)),
            }
        }
        Ok(missed)
    }

    /// What keeps this from being all of them.
    pub fn hidden(&self) -> Vec<String> {
        let found: HashSet<u64> = self.found.keys().map(|(_, inode)| *inode).collect();
        let unreached = self.unreached.iter().filter(|(inode, _)| !found.contains(inode));
        let unreached = unreached.map(|(inode, path)| format!("net:[{inode}] at {} cannot be reached", path.display()));
        let denied = self.denied.iter().map(|process| {
            let name = fs::read_to_string(process.join("comm")).unwrap_or_default();
            format!("the network namespace of {} ({}) may not be looked at", process.display(), name.trim_end())
        });
        let mut hidden: Vec<_> = unreached.chain(denied).collect();
        if fs::metadata("/proc/self/ns/pid").map_or(true, |pid| pid.ino() != INITIAL_PID_NAMESPACE) {
            hidden.push("only the processes of a container are seen: run this on the node, or with hostPID".to_owned());
        }
        hidden
    }
}

/// The identity of what a path leads to.
pub fn identity(path: &Path) -> io::Result<Identity> {
    fs::metadata(path).map(|metadata| (metadata.dev(), metadata.ino()))
}

/// Where a mount point of a process's mount namespace is for us.
fn seen_by(process: &Path, point: &Path) -> PathBuf {
    match point.strip_prefix("/") {
        Ok(below) if process != Path::new(OWN) => process.join("root").join(below),
        _ => point.to_owned(),
    }
}

/// The network namespaces mounted where a process sees them, by inode; an error when it has ended.
fn namespace_mounts(process: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let table = fs::read(process.join("mountinfo"))?;
    Ok(table.split(|byte| *byte == b'\n').filter_map(namespace_mount).collect())
}

/// The mount point in a line of mountinfo (proc_pid_mountinfo(5)) that mounts a network namespace: field 4 is
/// `net:[<inode>]`, field 5 the mount point.
fn namespace_mount(line: &[u8]) -> Option<(u64, PathBuf)> {
    let mut fields = line.split(|byte| *byte == b' ').skip(3);
    let inode = std::str::from_utf8(fields.next()?).ok()?.strip_prefix("net:[")?.strip_suffix(']')?.parse().ok()?;
    fields.next().map(|point| (inode, PathBuf::from(std::ffi::OsString::from_vec(unescape(point)))))
}

/// `\040` and the like, as the kernel writes white space and backslashes.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, after @ ..] = rest {
        let octal = match (first, after) {
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', ..]) => {
                Some((a - b'0') * 64 + (b - b'0') * 8 + (c - b'0'))
            }
            _ => None,
        };
        out.push(octal.unwrap_or(*first));
        rest = if octal.is_some() { &after[3..] } else { after };
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_mounts_of_network_namespaces() {
        let table = b"24 1 0:22 / /proc rw - proc proc rw\n\
            700 24 0:4 net:[4026532281] /run/netns/a rw shared:1 - nsfs nsfs rw\n\
            701 24 0:4 mnt:[4026532282] /run/snapd/ns/x.mnt rw - nsfs nsfs rw\n\
            702 24 0:4 net:[4026532283] /run/netns/a\\040b\\134 rw - nsfs nsfs rw\n\n";
        let found: Vec<_> = table.split(|byte| *byte == b'\n').filter_map(namespace_mount).collect();
        let found: Vec<_> = found.into_iter().map(|(_, point)| point).collect();
        assert_eq!(found, [PathBuf::from("/run/netns/a"), PathBuf::from("/run/netns/a b\\")]);
        assert_eq!(unescape(b"\\04"), b"\\04");
    }
}
