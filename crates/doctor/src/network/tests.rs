use super::*;

fn read_text(name: &str, content: &str) -> (Option<Network>, Vec<Finding>) {
    read(&Document { file: name.into(), content: Ok(content.as_bytes().to_vec()), more: Vec::new() })
}

/// Severity, key and the beginning of what was found.
fn told(name: &str, content: &str) -> Vec<(Severity, String, String)> {
    let (_, findings) = read_text(name, content);
    findings.into_iter().map(|it| (it.severity, it.key.unwrap_or_default(), it.what)).collect()
}

#[test]
fn a_good_list_and_a_good_single_config_have_no_findings() {
    let list = r#"{"cniVersion": "1.0.0", "name": "n", "plugins": [{"type": "bridge"}, {"type": "portmap"}]}"#;
    let (network, findings) = read_text("n.conflist", list);
    assert_eq!(findings, []);
    let kinds: Vec<_> = network.unwrap().plugins.iter().map(|plugin| (plugin.index, plugin.kind.clone())).collect();
    assert_eq!(kinds, [(0, "bridge".to_owned()), (1, "portmap".to_owned())]);
    assert_eq!(told("n.conf", r#"{"cniVersion": "1.0.0", "name": "n", "type": "bridge"}"#), []);
}

#[test]
fn bad_json_is_told_with_line_and_column() {
    let findings = read_text("n.conflist", "{\n  \"name\": \"n\",\n  \"plugins\": [\n  }\n").1;
    assert!(findings[0].is_error() && findings[0].what.contains("line 4 column 3"), "{findings:?}");
    assert!(findings[0].advice.as_deref().unwrap().ends_with(": }"), "{findings:?}");
    for (content, word) in [("", "empty"), ("[]", "not an object"), ("{} x", "trailing")] {
        let told = told("n.conf", content);
        assert!(told[0].2.contains(word), "{content}: {told:?}");
    }
}

#[test]
fn all_mistakes_are_told_at_once() {
    let list = r#"{"cniVersion": "9.0.0", "name": "../n", "disableCHeck": true, "plugins": [{"typ": "bridge"}, 5, {"type": "a/b"}]}"#;
    let told = told("n.conflist", list);
    let keys: Vec<_> = told.iter().map(|(severity, key, _)| (*severity, key.as_str())).collect();
    let (error, warning) = (Severity::Error, Severity::Warning);
    assert_eq!(
        keys,
        [
            (error, "name"),
            (error, "cniVersion"),
            (warning, "disableCHeck"),
            (error, "plugins[1]"),
            (error, "plugins[0].type"),
            (error, "plugins[1].type"),
        ]
    );
}

#[test]
fn versions_are_known_old_or_unknown() {
    for (keys, severity) in [
        (r#""cniVersion": "1.1.0""#, None),
        (r#""cniVersions": ["0.4.0", "7.0.0"]"#, None),
        (r#""cniVersion": "0.3.1""#, Some(Severity::Warning)),
        (r#""x": 1"#, Some(Severity::Warning)),
        (r#""cniVersion": "2.0.0""#, Some(Severity::Error)),
        (r#""cniVersion": 1"#, Some(Severity::Error)),
    ] {
        let told = told("n.conf", &format!(r#"{{{keys}, "name": "n", "type": "bridge"}}"#));
        assert_eq!(told.first().map(|first| first.0), severity, "{keys}: {told:?}");
    }
}

#[test]
fn the_name_of_the_file_matters() {
    let single = r#"{"cniVersion": "1.0.0", "name": "n", "type": "bridge"}"#;
    assert_eq!(told("n.txt", single)[0].0, Severity::Warning);
    let list = r#"{"cniVersion": "1.0.0", "name": "n", "plugins": [{"type": "bridge"}]}"#;
    assert!(told("n.conf", list)[0].2.contains("not called *.conflist"));
    assert!(
        told("n.conflist", single).iter().any(|(severity, key, _)| *severity == Severity::Error && key == "plugins")
    );
}

#[test]
fn plugins_of_the_networks_own_directory_belong_to_it() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("10-n.conflist");
    fs::write(&file, r#"{"cniVersion": "1.0.0", "name": "n", "plugins": [{"type": "bridge"}]}"#).unwrap();
    fs::create_dir(dir.path().join("n")).unwrap();
    fs::write(dir.path().join("n/5.conf"), r#"{"type": "portmap"}"#).unwrap();
    fs::write(dir.path().join("README"), "").unwrap();
    let documents = documents(dir.path()).unwrap();
    assert_eq!(documents.len(), 1);
    let network = read(&documents[0]).0.unwrap();
    assert_eq!(network.plugins[1].file, dir.path().join("n/5.conf"));
    assert_eq!(network.plugins[1].kind, "portmap");
}
