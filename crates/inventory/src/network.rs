//! The node's networks: those that are configured, and those that have addresses on disk.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use cni::NetConf;
use ipam::{DEFAULT_DATA_DIR, RangeSets, Store};
use runtime::NetworkList;
use serde_json::{Value, json};

use crate::records::Records;

/// Where to look.
#[derive(Debug, Clone)]
pub struct Places {
    /// Directory of the networks' configurations.
    pub conf_dir: PathBuf,
    /// Directories of address stores, beside those that configurations name.
    pub data_dirs: Vec<PathBuf>,
    /// Directory whose `results` has the runtime's records.
    pub cache_dir: PathBuf,
}

impl Default for Places {
    fn default() -> Places {
        Places {
            conf_dir: "/etc/cni/net.d".into(),
            data_dirs: vec![DEFAULT_DATA_DIR.into()],
            cache_dir: runtime::DEFAULT_CACHE_DIR.into(),
        }
    }
}

/// Reads a plugin's config whose IPAM plugin keeps its addresses on this node: where they are, and the ranges. Given by
/// the caller, because that is the IPAM plugin's own knowledge.
pub type ReadPool = fn(&NetConf) -> Result<(Store, Result<RangeSets, cni::Error>), cni::Error>;

/// One network's addresses.
#[derive(Debug, Clone)]
pub struct Network {
    /// Its name.
    pub name: String,
    /// Where its addresses are.
    pub store: Store,
    /// What it gives out, where the configuration says so.
    pub sets: Option<RangeSets>,
    /// The type of the plugin that uses the addresses, where the configuration is known.
    pub plugin: Option<String>,
    /// The file of the configuration.
    pub config: Option<PathBuf>,
}

impl Network {
    /// Whether each of its pods has a veth pair that podlink names by its owner.
    pub fn has_named_pairs(&self) -> bool {
        matches!(self.plugin.as_deref(), Some("bridge" | "ptp"))
    }
}

/// Lists them by name and directory; the second says what could not be read.
pub fn networks(places: &Places, records: &Records, read: ReadPool) -> (Vec<Network>, Vec<String>) {
    let mut found = Found { read, by_dir: BTreeMap::new(), problems: Vec::new() };
    let mut names = BTreeSet::new();
    for list in found.configured(&places.conf_dir) {
        // The first one of a name is the one that runtimes take.
        if names.insert(list.name().to_owned()) {
            found.add(&list);
        }
    }
    for list in records.configs().filter_map(|config| NetworkList::from_bytes(config.to_vec()).ok()) {
        if names.insert(list.name().to_owned()) {
            found.add(&list);
        }
    }
    let named = found.by_dir.values().filter_map(|network| network.store.dir().parent()).map(Path::to_owned);
    let data_dirs: BTreeSet<PathBuf> = named.chain(places.data_dirs.iter().cloned()).collect();
    for data_dir in data_dirs {
        found.on_disk(&data_dir);
    }
    let mut networks: Vec<_> = found.by_dir.into_values().collect();
    networks.sort_by(|a, b| (&a.name, a.store.dir()).cmp(&(&b.name, b.store.dir())));
    (networks, found.problems)
}

struct Found {
    read: ReadPool,
    by_dir: BTreeMap<PathBuf, Network>,
    problems: Vec<String>,
}

impl Found {
    /// The configurations of a directory in the order of libcni: lists first, then single plugins.
    fn configured(&mut self, dir: &Path) -> Vec<NetworkList> {
        let mut files = match fs::read_dir(dir) {
            Ok(entries) => entries.filter_map(Result::ok).map(|entry| entry.path()).collect(),
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    self.problems.push(format!("network configurations in {}: {error}", dir.display()));
                }
                Vec::new()
            }
        };
        files.sort();
        let has = |path: &Path, wanted: &[&str]| {
            path.extension().is_some_and(|extension| wanted.iter().any(|one| extension == *one))
        };
        let list = |path: &Path| NetworkList::from_file(path).map_err(|error| error.to_string());
        let lists = files.iter().filter(|path| has(path, &["conflist"])).map(|path| (path, list(path)));
        let single = files.iter().filter(|path| has(path, &["conf", "json"])).map(|path| (path, single(path)));
        let (mut read, mut failed) = (Vec::new(), Vec::new());
        for (path, list) in lists.chain(single) {
            match list {
                Ok(list) => read.push(list),
                // Removed since it was listed, as when it is replaced.
                Err(_) if path.symlink_metadata().is_err_and(|e| e.kind() == io::ErrorKind::NotFound) => {}
                Err(error) => failed.push(error),
            }
        }
        self.problems.extend(failed);
        read
    }

    /// Adds a network whose addresses are on this node.
    fn add(&mut self, list: &NetworkList) {
        let Ok(Value::Object(mut fields)) = serde_json::from_slice(list.bytes()) else { return };
        let Some(Value::Array(plugins)) = fields.remove("plugins") else { return };
        for mut conf in plugins {
            if conf.pointer("/ipam/type").and_then(Value::as_str) != Some("host-local") {
                continue;
            }
            conf["name"] = json!(list.name());
            conf["cniVersion"] = json!(list.cni_version().as_str());
            let plugin = conf.get("type").and_then(Value::as_str).map(str::to_owned);
            let read = NetConf::parse(conf.to_string().into_bytes()).and_then(|conf| (self.read)(&conf));
            let (store, sets) = match read {
                Ok(read) => read,
                Err(error) => {
                    self.problems.push(format!("network {:?}: {error}", list.name()));
                    continue;
                }
            };
            let network = Network {
                name: list.name().to_owned(),
                sets: sets.map_err(|error| self.problems.push(error.to_string())).ok(),
                plugin,
                config: list.file().map(Path::to_owned),
                store,
            };
            self.by_dir.insert(network.store.dir().to_owned(), network);
        }
    }

    /// Adds the stores of a data directory that no configuration tells of.
    fn on_disk(&mut self, data_dir: &Path) {
        let entries = match fs::read_dir(data_dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return,
            Err(error) => return self.problems.push(format!("address stores in {}: {error}", data_dir.display())),
        };
        for entry in entries.filter_map(Result::ok).filter(|entry| entry.path().is_dir()) {
            // Other names are no networks.
            let Ok(name) = entry.file_name().into_string() else { continue };
            let Ok(store) = Store::new(data_dir, &name) else { continue };
            self.by_dir.entry(store.dir().to_owned()).or_insert_with(|| Network {
                name,
                store,
                sets: None,
                plugin: None,
                config: None,
            });
        }
    }
}

/// A single plugin's configuration as a list.
fn single(path: &Path) -> Result<NetworkList, String> {
    let told = |why: &dyn std::fmt::Display| format!("{}: {why}", path.display());
    let conf: Value = fs::read(path)
        .map_err(|error| told(&error))
        .and_then(|bytes| serde_json::from_slice(&bytes).map_err(|error| told(&error)))?;
    let of = |key: &str| conf.get(key).cloned().unwrap_or_else(|| json!(""));
    let list = json!({ "cniVersion": of("cniVersion"), "name": of("name"), "plugins": [conf] });
    NetworkList::from_bytes(list.to_string().into_bytes()).map_err(|error| told(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(conf: &NetConf) -> Result<(Store, Result<RangeSets, cni::Error>), cni::Error> {
        #[derive(serde::Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Ipam {
            data_dir: PathBuf,
        }
        #[derive(serde::Deserialize)]
        struct Keys {
            ipam: Ipam,
        }
        let keys: Keys = conf.read()?;
        let unknown = cni::Error::new(cni::ErrorCode::INVALID_CONFIG, "no ranges");
        Store::new(&keys.ipam.data_dir, &conf.name)
            .map(|store| (store, Err(unknown)))
            .map_err(|error| cni::Error::new(cni::ErrorCode::INVALID_CONFIG, error.to_string()))
    }

    #[test]
    fn networks_are_found_by_config_and_by_directory() {
        let dir = tempfile::tempdir().unwrap();
        let (conf_dir, data_dir) = (dir.path().join("conf"), dir.path().join("data"));
        fs::create_dir(&conf_dir).unwrap();
        let ipam = json!({ "type": "host-local", "dataDir": data_dir });
        let plugin = |kind: &str| json!({ "type": kind, "ipam": ipam });
        let list = |name: &str, kind: &str| {
            json!({ "cniVersion": "1.0.0", "name": name, "plugins": [plugin(kind), { "type": "portmap" }] }).to_string()
        };
        fs::write(conf_dir.join("10-a.conflist"), list("a", "bridge")).unwrap();
        fs::write(conf_dir.join("20-a.conflist"), list("a", "macvlan")).unwrap();
        fs::write(conf_dir.join("30-broken.conflist"), "{").unwrap();
        let single = json!({ "cniVersion": "0.4.0", "name": "b", "type": "ptp", "ipam": ipam });
        fs::write(conf_dir.join("40-b.conf"), single.to_string()).unwrap();
        for sub in ["a", "orphan", ".podlink"] {
            fs::create_dir_all(data_dir.join(sub)).unwrap();
        }
        fs::write(data_dir.join("file"), "").unwrap();
        let cache_dir = dir.path().join("cache");
        let places = Places { conf_dir, data_dirs: Vec::new(), cache_dir };
        let (found, problems) = networks(&places, &Records::read(&places.cache_dir).0, read);
        let text: Vec<_> = found.iter().map(|one| format!("{} {:?}", one.name, one.plugin)).collect();
        assert_eq!(text, [r#"a Some("bridge")"#, r#"b Some("ptp")"#, "orphan None"]);
        assert!(problems.iter().any(|problem| problem.contains("30-broken.conflist")), "{problems:?}");
        assert!(found[0].has_named_pairs() && found[1].has_named_pairs() && !found[2].has_named_pairs());
    }
}
