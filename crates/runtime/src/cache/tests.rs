use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::json;
use tempfile::TempDir;

use super::*;

/// Written by hand from the struct tags of libcni's `cachedInfo`, as Go's encoder would write it.
const GOLDEN: &str = include_str!("../../tests/golden/cniCacheV1.json");

fn list() -> NetworkList {
    let text = r#"{"cniVersion":"1.0.0","name":"net","plugins":[{"type":"bridge"}]}"#;
    NetworkList::from_bytes(text.into()).unwrap()
}

fn conf() -> RuntimeConf {
    let mut conf = RuntimeConf::new("c1", "eth0", Some("/run/netns/pod".into()));
    conf.args = vec![("IgnoreUnknown".into(), "1".into()), ("IP".into(), "10.1.2.3".into())];
    conf.capability_args = json!({"ips": ["10.1.2.3/24"]}).as_object().unwrap().clone();
    conf
}

fn result() -> CniResult {
    let value = json!({"cniVersion": "1.0.0", "ips": [{"address": "10.1.2.3/24"}], "dns": {}});
    CniResult::from_value(&value, SpecVersion::LATEST).unwrap()
}

fn cache() -> (TempDir, Cache) {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::new(&dir.path().join("var/lib/cni"));
    (dir, cache)
}

fn with_file(text: &str) -> (TempDir, Cache) {
    let (dir, cache) = cache();
    fs::create_dir_all(&cache.dir).unwrap();
    fs::write(cache.path("net", &conf().attachment()), text).unwrap();
    (dir, cache)
}

#[test]
fn what_is_written_is_what_go_writes() {
    let (_dir, cache) = cache();
    cache.write(&list(), &conf(), &result()).unwrap();
    let path = cache.dir.join("net-c1-eth0");
    let written: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    assert_eq!(written, serde_json::from_str::<Value>(GOLDEN).unwrap());
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(&cache.dir).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(fs::read_dir(&cache.dir).unwrap().count(), 1, "nothing is left aside");
}

#[test]
fn what_is_not_set_is_left_out_as_go_leaves_it_out() {
    let (_dir, cache) = cache();
    cache.write(&list(), &RuntimeConf::new("c1", "eth0", None), &result()).unwrap();
    let value: Value = serde_json::from_slice(&fs::read(cache.dir.join("net-c1-eth0")).unwrap()).unwrap();
    let keys: Vec<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, ["kind", "containerId", "config", "ifName", "networkName", "result"]);
}

#[test]
fn what_go_wrote_is_read_with_everything_in_it() {
    let (_dir, cache) = with_file(GOLDEN);
    assert_eq!(cache.result("net", &conf().attachment()).unwrap(), Some(result()));
    let expected = CachedAttachment { network: "net".into(), conf: conf(), config: list().bytes().to_vec() };
    assert_eq!(cache.attachments().unwrap(), [expected]);
}

#[test]
fn the_format_before_cni_cache_v1_is_read() {
    for old in [r#"{"cniVersion": "0.3.1", "ips": [{"address": "10.1.2.3/24"}]}"#, r#"{"ip4": {"ip": "10.1.2.3/24"}}"#]
    {
        let (_dir, cache) = with_file(old);
        let found = cache.result("net", &conf().attachment()).unwrap().unwrap();
        assert_eq!(found.ips, result().ips);
        assert_eq!(cache.attachments().unwrap(), [], "it does not say whose it is");
    }
}

#[test]
fn damage_is_told_with_the_file_and_is_no_obstacle_to_removing_it() {
    for bad in ["", "{", "[]", r#"{"kind": "cniCacheV1"}"#, r#"{"cniVersion": "9.0.0"}"#, r#"{"kind": "v2", "ips": 5}"#]
    {
        let (_dir, cache) = with_file(bad);
        let error = cache.result("net", &conf().attachment()).unwrap_err();
        assert!(matches!(error, Error::DamagedCache { .. }) && error.to_string().contains("net-c1-eth0"), "{error}");
        assert_eq!(cache.attachments().unwrap(), []);
        cache.remove("net", &conf().attachment()).unwrap();
        assert_eq!(fs::read_dir(&cache.dir).unwrap().count(), 0);
    }
}

#[test]
fn nothing_there_is_no_error() {
    let (_dir, cache) = cache();
    assert_eq!(cache.result("net", &conf().attachment()).unwrap(), None);
    assert_eq!(cache.attachments().unwrap(), []);
    cache.remove("net", &conf().attachment()).unwrap();
}

#[test]
fn what_a_killed_add_left_aside_is_not_listed_and_is_removed() {
    let (_dir, cache) = with_file(GOLDEN);
    let path = cache.path("net", &conf().attachment());
    fs::rename(&path, aside(&path)).unwrap();
    assert_eq!(cache.attachments().unwrap(), []);
    cache.remove("net", &conf().attachment()).unwrap();
    assert_eq!(fs::read_dir(&cache.dir).unwrap().count(), 0);
}

#[test]
fn a_file_that_belongs_to_another_attachment_is_not_taken_for_ours() {
    let (_dir, cache) = cache();
    cache.write(&list(), &RuntimeConf::new("a-b", "eth0", None), &result()).unwrap();
    let ours = Attachment { container_id: "b".into(), ifname: "eth0".into() };
    assert!(matches!(cache.result("net-a", &ours), Err(Error::CacheTaken { .. })));
}
