//! Which network namespaces there are, and what addresses and interfaces they have.
//!
//! Found are those of processes (`/proc/<pid>/ns/net`) and those mounted anywhere (`/proc/<pid>/mountinfo`, type nsfs:
//! `/run/netns`, `/run/docker/netns` and others), in whatever mount namespace. Each is read once, whatever its paths.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::net::IpAddr;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use ipnetwork::IpNetwork;
use netlink::Namespace;
use nix::libc;
use pod::Owner;

use crate::error::Error;
use crate::evidence::{Carrier, Scan};

/// Device and inode number, which tell namespaces apart (namespaces(7)).
type Identity = (u64, u64);
/// `PROC_PID_INIT_INO` of linux/proc_ns.h: the node's own process IDs.
const INITIAL_PID_NAMESPACE: u64 = 0xEFFF_FFFC;
/// The calling process.
const OWN: &str = "/proc/self";
/// How often a mount that nothing leads to is looked at again.
const LOOKS: usize = 8;
/// `RT_SCOPE_UNIVERSE`.
const UNIVERSE: u8 = 0;

/// What all namespaces have.
#[derive(Debug, Default)]
pub struct Namespaces {
    addresses: HashMap<IpAddr, Carrier>,
    /// By own index and the far end's: the pods' ends of veth pairs.
    ends: HashMap<(u32, u32), Vec<Carrier>>,
    /// What an interface has: not of ports, and not what is good on its own link only.
    networks: HashMap<Carrier, Vec<IpNetwork>>,
    /// The path of the calling thread's own.
    own: Option<PathBuf>,
    read: usize,
    unread: Vec<String>,
}

impl Namespaces {
    /// Reads every namespace that can be reached.
    ///
    /// # Errors
    /// [`Error::Proc`] where they cannot be listed. One that cannot be read only makes the scan incomplete.
    pub fn read() -> Result<Namespaces, Error> {
        let mut all = Namespaces::default();
        let own = identity(Path::new("/proc/thread-self/ns/net")).ok();
        let paths = Paths::find()?;
        all.unread.extend(paths.hidden());
        for (id, paths) in paths.found {
            // When no path leads there any more it ended, and what it had with it.
            match paths.iter().find_map(|path| open(path, id).transpose()) {
                Some(Ok(namespace)) => match all.visit(&namespace, Some(id) == own) {
                    Ok(()) => all.read += 1,
                    Err(error) => all.unread.push(error.to_string()),
                },
                Some(Err(error)) => all.unread.push(error.to_string()),
                None => {}
            }
        }
        Ok(all)
    }

    fn visit(&mut self, namespace: &Namespace, is_own: bool) -> Result<(), netlink::Error> {
        let (path, netlink) = (namespace.path(), namespace.netlink()?);
        if is_own {
            self.own = Some(path.to_owned());
        }
        for link in netlink.links()? {
            let carrier = || Carrier { namespace: path.to_owned(), ifname: link.name.clone() };
            // Indices are numbers of a namespace: one with a node's ends in it has the same ones for other pairs.
            let is_nodes_end = link.alias.as_deref().is_some_and(|alias| Owner::from_alias(alias).is_some());
            if let Some(peer) = link.peer_index
                && link.peer_netnsid.is_some()
                && !is_own
                && !is_nodes_end
            {
                self.ends.entry((link.index, peer)).or_default().push(carrier());
            }
            // A port has no addresses of its own, and the node has hundreds.
            if link.master.is_some() {
                continue;
            }
            match netlink.addresses(link.index) {
                Ok(addresses) => {
                    for address in addresses {
                        if address.scope == UNIVERSE {
                            self.networks.entry(carrier()).or_default().push(address.network);
                        }
                        self.addresses.entry(address.network.ip()).or_insert_with(carrier);
                    }
                }
                // It went away meanwhile.
                Err(netlink::Error::NotFound(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// A namespace that has the address.
    pub fn carrier(&self, address: IpAddr) -> Option<&Carrier> {
        self.addresses.get(&address)
    }

    /// What may be the pod's end of the node's link with this index and this far end's index, by numbers alone.
    pub fn far_ends(&self, index: u32, peer: u32) -> &[Carrier] {
        self.ends.get(&(peer, index)).map(Vec::as_slice).unwrap_or_default()
    }

    /// The addresses of an interface with their prefix lengths, but those of its link alone.
    pub fn networks(&self, carrier: &Carrier) -> &[IpNetwork] {
        self.networks.get(carrier).map(Vec::as_slice).unwrap_or_default()
    }

    /// The addresses of an interface of the calling thread's own namespace.
    pub fn own_networks(&self, ifname: &str) -> &[IpNetwork] {
        let Some(own) = &self.own else { return &[] };
        self.networks(&Carrier { namespace: own.clone(), ifname: ifname.to_owned() })
    }

    /// How far "nowhere" can be trusted.
    pub fn scan(&self) -> Scan {
        Scan { read: self.read, complete: self.unread.is_empty() }
    }

    /// Why namespaces could not be read.
    pub fn unread(&self) -> &[String] {
        &self.unread
    }
}

/// Where the namespaces are, and what says that there are more.
#[derive(Default)]
struct Paths {
    found: HashMap<Identity, Vec<PathBuf>>,
    /// What is mounted where nothing leads to it, by inode.
    unreached: HashMap<u64, PathBuf>,
    /// Processes whose namespace may not be looked at.
    denied: Vec<PathBuf>,
}

impl Paths {
    fn find() -> Result<Paths, Error> {
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
    fn hidden(&self) -> Vec<String> {
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

/// The namespace, where the path still leads to it: a process may end or go elsewhere, and a mount be replaced.
fn open(path: &Path, id: Identity) -> Result<Option<Namespace>, netlink::Error> {
    match Namespace::open(path) {
        Ok(namespace) => Ok((namespace.identity()? == id).then_some(namespace)),
        Err(netlink::Error::NamespaceGone { .. } | netlink::Error::NotANamespace { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

fn identity(path: &Path) -> io::Result<Identity> {
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
