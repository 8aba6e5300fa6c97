use super::*;

fn attachment(container_id: &str) -> Attachment {
    Attachment { container_id: container_id.to_owned(), ifname: "eth0".to_owned() }
}

fn saved(path: &str, before: &str, after: &str) -> Saved {
    Saved { path: path.to_owned(), before: before.to_owned(), after: after.to_owned() }
}

fn backup(network: &str, container_id: &str) -> Backup {
    let record = Record {
        network: network.to_owned(),
        attachment: attachment(container_id),
        place: "4:5:6".to_owned(),
        sysctls: vec![saved("core/a", "1", "2")],
    };
    Backup { mac: "02:00:00:00:00:01".to_owned(), mtu: 1500, podlink: Some(record), ..Backup::default() }
}

#[test]
fn the_file_is_the_references_and_reads_back() {
    let dir = tempfile::tempdir().unwrap();
    let file = BackupFile::of(&dir.path().join("made"), &attachment("c1"));
    assert_eq!(file.read(), None);
    file.write(&backup("net", "c1")).unwrap();
    assert_eq!(file.read(), Some(backup("net", "c1")));
    let path = dir.path().join("made/c1_eth0.json");
    let text: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    assert_eq!((text["mac"].as_str(), text["mtu"].as_u64()), (Some("02:00:00:00:00:01"), Some(1500)));
    assert!(text.get("promisc").is_none() && text.get("txQLen").is_none(), "{text}");
    file.remove().unwrap();
    file.remove().unwrap();
    assert!(!path.exists());

    // What the reference writes.
    fs::write(&path, "{\n \"promisc\": false,\n \"mtu\": 1400,\n \"txQLen\": 7\n}").unwrap();
    let expected = Backup { promisc: Some(false), mtu: 1400, tx_queue_len: Some(7), ..Backup::default() };
    assert_eq!(file.read(), Some(expected));
    fs::write(&path, "{").unwrap();
    assert_eq!(file.read(), None);
}

#[test]
fn the_oldest_values_of_an_interface_are_kept() {
    let mut new = backup("net", "c1");
    new.mac = "02:00:00:00:00:02".to_owned();
    new.promisc = Some(true);
    new.podlink.as_mut().unwrap().sysctls = vec![saved("core/a", "2", "3"), saved("core/b", "0", "1")];
    let mut same = new.clone();
    same.keep_older(Some(backup("net", "c1")));
    assert_eq!((same.mac.as_str(), same.promisc), ("02:00:00:00:00:01", Some(true)));
    assert_eq!(same.podlink.unwrap().sysctls, [saved("core/a", "1", "3"), saved("core/b", "0", "1")]);

    let mut other_place = backup("net", "c1");
    other_place.podlink.as_mut().unwrap().place = "4:5:7".to_owned();
    for older in [None, Some(other_place), Some(Backup::default())] {
        let mut kept = new.clone();
        kept.keep_older(older);
        assert_eq!(kept, new);
    }
}

#[test]
fn only_what_is_proven_to_be_the_networks_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    for (network, container) in [("net", "valid"), ("net", "gone"), ("other", "theirs")] {
        BackupFile::of(dir.path(), &attachment(container)).write(&backup(network, container)).unwrap();
    }
    for (name, text) in [("go_eth0.json", r#"{"mtu": 1500}"#), ("broken_eth0.json", "{"), ("gone_eth0.txt", "")] {
        fs::write(dir.path().join(name), text).unwrap();
    }
    fs::copy(dir.path().join("gone_eth0.json"), dir.path().join(".gone_eth0.json")).unwrap();
    remove_unowned(dir.path(), "net", &[attachment("valid")]).unwrap();
    let mut left: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["broken_eth0.json", "go_eth0.json", "gone_eth0.txt", "theirs_eth0.json", "valid_eth0.json"]);
    remove_unowned(&dir.path().join("none"), "net", &[]).unwrap();
}
