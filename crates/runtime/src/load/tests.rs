use std::fs;

use cni::SpecVersion;
use tempfile::TempDir;

use super::*;

fn dir(files: &[(&str, &str)]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    dir
}

fn list(name: &str, plugin: &str) -> String {
    format!(r#"{{"cniVersion": "1.0.0", "name": "{name}", "plugins": [{{"type": "{plugin}"}}]}}"#)
}

fn types(list: &NetworkList) -> Vec<&str> {
    list.plugins().iter().map(PluginConf::plugin_type).collect()
}

#[test]
fn the_first_conflist_of_the_name_wins_and_a_conf_comes_after_all_of_them() {
    let dir = dir(&[
        ("00-net.conf", r#"{"name": "net", "type": "from-conf"}"#),
        ("10-other.conflist", &list("other", "x")),
        ("30-net.conflist", &list("net", "third")),
        ("20-net.conflist", &list("net", "second")),
        ("01-net.txt", "not looked at"),
    ]);
    let found = NetworkList::load(dir.path(), "net").unwrap();
    assert_eq!(types(&found), ["second"]);
    assert_eq!(found.file(), Some(dir.path().join("20-net.conflist").as_path()));
    assert_eq!(found.bytes(), list("net", "second").as_bytes());
}

#[test]
fn a_conf_or_json_is_wrapped_as_a_list() {
    let dir = dir(&[
        ("20.conf", r#"{"name": "net", "type": "late"}"#),
        ("10.json", r#"{"name": "net", "cniVersion": "0.3.1", "type": "bridge", "mtu": 9}"#),
        // Not for networks of one plugin.
        ("net/10.conf", r#"{"type": "more"}"#),
    ]);
    let list = NetworkList::load(dir.path(), "net").unwrap();
    assert_eq!((types(&list), list.cni_version()), (vec!["bridge"], SpecVersion::V0_3_1));
    let text = std::str::from_utf8(list.bytes()).unwrap();
    assert!(text.starts_with(r#"{"cniVersion":"0.3.1","name":"net","plugins":[{"name":"net","#), "{text}");
}

#[test]
fn plugins_of_the_networks_own_directory_follow_the_inlined_ones() {
    let files = [
        ("net/20.conf", r#"{"type": "b"}"#),
        ("net/10.conf", r#"{"type": "a"}"#),
        ("net/15.json", "not looked at"),
        ("net/sub.conf/x", "a directory"),
    ];
    for (head, expected) in [
        (r#""plugins": [{"type": "inlined"}]"#, Ok(vec!["inlined", "a", "b"])),
        (r#""x": 1"#, Ok(vec!["a", "b"])),
        (r#""plugins": [{"type": "inlined"}], "loadOnlyInlinedPlugins": true"#, Ok(vec!["inlined"])),
        (r#""loadOnlyInlinedPlugins": "true""#, Err("loadOnlyInlinedPlugins")),
    ] {
        let dir = dir(&files);
        fs::write(dir.path().join("x.conflist"), format!(r#"{{"name": "net", {head}}}"#)).unwrap();
        match (NetworkList::load(dir.path(), "net"), expected) {
            (Ok(list), Ok(expected)) => assert_eq!(types(&list), expected),
            (Err(error), Err(word)) => assert!(error.to_string().contains(word), "{error}"),
            (found, expected) => panic!("{head}: found {found:?}, expected {expected:?}"),
        }
    }
}

#[test]
fn what_is_not_there_is_told_apart() {
    let empty = dir(&[("README", "x")]);
    assert!(matches!(NetworkList::load(empty.path(), "net"), Err(Error::NoConfigs { .. })));
    let gone = empty.path().join("gone");
    let error = NetworkList::load(&gone, "net").unwrap_err();
    assert!(matches!(error, Error::NoDirectory { .. }) && error.to_string().contains("gone"));
    let others = dir(&[("a.conflist", &list("one", "x")), ("b.conf", r#"{"name": "two", "type": "x"}"#)]);
    let text = NetworkList::load(others.path(), "net").unwrap_err().to_string();
    for word in ["\"net\"", "\"one\"", "a.conflist", "\"two\"", "b.conf"] {
        assert!(text.contains(word), "{text}");
    }
}

#[test]
fn broken_json_stops_the_search_and_another_networks_mistake_does_not() {
    let good = list("net", "x");
    let broken = dir(&[("00.conflist", "{"), ("10.conflist", &good)]);
    let error = NetworkList::load(broken.path(), "net").unwrap_err().to_string();
    assert!(error.contains("00.conflist"), "{error}");
    let others = dir(&[
        ("00.conflist", r#"{"name": "other", "cniVersion": "7.0.0", "plugins": 5}"#),
        ("01.conflist", "{}"),
        ("10.conflist", &good),
    ]);
    assert_eq!(types(&NetworkList::load(others.path(), "net").unwrap()), ["x"]);
}

#[test]
fn errors_name_the_file() {
    let dir = dir(&[
        ("a.conflist", r#"{"name": "a", "plugins": [{}]}"#),
        ("b.conflist", r#"{"name": "b"}"#),
        ("b/10.conf", r#"{"type": 7}"#),
        ("c.conf", r#"{"name": "c", "plugins": [{"type": "x"}]}"#),
    ]);
    for (name, file, word) in
        [("a", "a.conflist", "plugins[0]"), ("b", "b/10.conf", "type"), ("c", "c.conf", ".conflist")]
    {
        let error = NetworkList::load(dir.path(), name).unwrap_err().to_string();
        assert!(error.contains(file) && error.contains(word), "{error}");
    }
}
