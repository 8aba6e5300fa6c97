//! What container runtimes remember of attachments: libcni's cache, a file for each.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use cni::Attachment;
use netlink::Namespace;
use pod::Owner;
use runtime::{CachedAttachment, NetworkList, Runtime};

use crate::evidence::RecordState;

/// The records of one node.
#[derive(Debug)]
pub struct Records {
    runtime: Runtime,
    by_attachment: HashMap<(String, Attachment), CachedAttachment>,
    /// Networks and container IDs, for reservations without an interface name.
    containers: HashSet<(String, String)>,
    is_kept: bool,
}

impl Records {
    /// Reads `<cache dir>/results`; the second is why that could not be done, and then nothing is known.
    pub fn read(cache_dir: &Path) -> (Records, Option<String>) {
        let runtime = Runtime::new(Vec::new(), cache_dir);
        let (all, problem) = match runtime.cached_attachments() {
            Ok(all) => (all, None),
            Err(error) => (Vec::new(), Some(error.to_string())),
        };
        let containers = all.iter().map(|one| (one.network.clone(), one.conf.container_id.clone())).collect();
        let is_kept = problem.is_none() && runtime.cache_dir.join("results").is_dir();
        let by_attachment = all.into_iter().map(|one| ((one.network.clone(), one.conf.attachment()), one)).collect();
        (Records { runtime, by_attachment, containers, is_kept }, problem)
    }

    /// The networks' configurations as they were at an ADD.
    pub fn configs(&self) -> impl Iterator<Item = &[u8]> {
        self.by_attachment.values().map(|record| record.config.as_slice()).filter(|config| !config.is_empty())
    }

    /// Whether the records of this network's pods are here: those of some runtimes, and of networks that they add to others, are
    /// elsewhere.
    fn are_kept(&self, network: &str) -> bool {
        self.is_kept && self.by_attachment.keys().any(|(of, _)| of == network)
    }

    /// What is remembered of an attachment.
    pub fn state(&self, owner: &Owner) -> RecordState {
        let Some(record) = self.find(owner) else {
            let file = self.file(owner);
            // One in a form older than the records read here is still one.
            return match self.are_kept(&owner.network) {
                true if file.exists() => RecordState::WithoutNamespace,
                true => RecordState::Gone { file },
                false => RecordState::NotKept,
            };
        };
        let Some(path) = record.conf.netns.clone() else { return RecordState::WithoutNamespace };
        match Namespace::open(&path) {
            Err(netlink::Error::NamespaceGone { .. } | netlink::Error::NotANamespace { .. }) => {
                RecordState::NamespaceGone { path }
            }
            _ => RecordState::NamespaceThere { path },
        }
    }

    /// The same for a container whose interface is not known.
    pub fn state_of_container(&self, network: &str, container_id: &str) -> RecordState {
        let mut of_container = self
            .by_attachment
            .keys()
            .filter(|(of, attachment)| of == network && attachment.container_id == container_id)
            .map(|(_, attachment)| Owner { network: network.to_owned(), attachment: attachment.clone() })
            .map(|owner| self.state(&owner));
        if !self.are_kept(network) {
            return RecordState::NotKept;
        }
        if !self.containers.contains(&(network.to_owned(), container_id.to_owned())) {
            let file = self.results().join(format!("{network}-{container_id}-*"));
            return RecordState::Gone { file };
        }
        let is_life = |state: &RecordState| !matches!(state, RecordState::NamespaceGone { .. });
        let first = of_container.next();
        match first {
            Some(state) if !is_life(&state) => of_container.find(is_life).unwrap_or(state),
            state => state.unwrap_or(RecordState::WithoutNamespace),
        }
    }

    /// The names of the node's interfaces in the result that ADD returned.
    pub fn node_interfaces(&self, owner: &Owner) -> Vec<String> {
        let result = self.find(owner).and_then(|record| {
            let list = NetworkList::from_bytes(record.config.clone()).ok()?;
            self.runtime.cached_result(&list, &record.conf).ok()?
        });
        let interfaces = result.map(|result| result.interfaces).unwrap_or_default();
        interfaces.into_iter().filter(|link| link.sandbox.is_empty()).map(|link| link.name).collect()
    }

    /// An argument that the runtime gave with the ADD (`CNI_ARGS`).
    pub fn argument(&self, owner: &Owner, key: &str) -> Option<&str> {
        let found = self.find(owner)?.conf.args.iter().find(|(name, _)| name == key);
        found.map(|(_, value)| value.as_str())
    }

    fn find(&self, owner: &Owner) -> Option<&CachedAttachment> {
        self.by_attachment.get(&(owner.network.clone(), owner.attachment.clone()))
    }

    fn results(&self) -> PathBuf {
        self.runtime.cache_dir.join("results")
    }

    fn file(&self, owner: &Owner) -> PathBuf {
        let Attachment { container_id, ifname } = &owner.attachment;
        self.results().join(format!("{}-{container_id}-{ifname}", owner.network))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(container_id: &str) -> Owner {
        let attachment = Attachment { container_id: container_id.to_owned(), ifname: "eth0".to_owned() };
        Owner { network: "net".to_owned(), attachment }
    }

    fn record(dir: &Path, container_id: &str, netns: &str) {
        let text = format!(
            r#"{{"kind":"cniCacheV1","containerId":"{container_id}","config":"e30=","ifName":"eth0","networkName":"net","netns":"{netns}"}}"#
        );
        std::fs::write(dir.join(format!("results/net-{container_id}-eth0")), text).unwrap();
    }

    #[test]
    fn an_absent_record_counts_only_where_records_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Records::read(dir.path()).0.state(&owner("c1")), RecordState::NotKept);
        std::fs::create_dir(dir.path().join("results")).unwrap();
        let file = dir.path().join("results/net-c1-eth0");
        assert_eq!(Records::read(dir.path()).0.state(&owner("c1")), RecordState::NotKept, "none of this network");
        record(dir.path(), "c2", "/run/netns/c2");
        let (records, problem) = Records::read(dir.path());
        assert_eq!((records.state(&owner("c1")), problem), (RecordState::Gone { file: file.clone() }, None));
        assert!(matches!(records.state_of_container("net", "c1"), RecordState::Gone { .. }));
        // As libcni wrote them before 0.8.
        std::fs::write(file, r#"{"cniVersion":"0.3.1"}"#).unwrap();
        assert_eq!(Records::read(dir.path()).0.state(&owner("c1")), RecordState::WithoutNamespace);
    }

    #[test]
    fn the_namespace_of_a_record_is_looked_for() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("results")).unwrap();
        record(dir.path(), "gone", "/run/netns/podlink-test-no-such");
        record(dir.path(), "file", "/etc/hostname");
        record(dir.path(), "there", "/proc/self/ns/net");
        record(dir.path(), "none", "");
        let (records, _) = Records::read(dir.path());
        for gone in ["gone", "file"] {
            assert!(matches!(records.state(&owner(gone)), RecordState::NamespaceGone { .. }), "{gone}");
            assert!(matches!(records.state_of_container("net", gone), RecordState::NamespaceGone { .. }), "{gone}");
        }
        assert_eq!(records.state(&owner("there")), RecordState::NamespaceThere { path: "/proc/self/ns/net".into() });
        assert_eq!(records.state(&owner("none")), RecordState::WithoutNamespace);
    }
}
