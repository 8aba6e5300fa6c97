//! Chains of fake plugins: what each is handed, in which order, and what comes of failures.

mod common;

use std::fs;

use cni::{Attachment, ErrorCode};
use common::{Bench, list, pod};
use runtime::{Error, NetworkList};
use serde_json::{Value, json};

fn valid(container_id: &str) -> Attachment {
    Attachment { container_id: container_id.into(), ifname: "eth0".into() }
}

#[test]
fn add_hands_each_result_on_and_caches_the_last() {
    let bench = Bench::new();
    // In another version than the list's: what is handed on is in the list's.
    bench.answers("one", "ADD", r#"{"cniVersion": "0.4.0", "ips": [{"version": "4", "address": "10.1.0.1/24"}]}"#);
    let mut pod = pod("c1");
    pod.args = vec![("IgnoreUnknown".into(), "1".into()), ("K8S_POD_NAME".into(), "web".into())];
    pod.capability_args =
        json!({"ips": ["10.9.0.9/24"], "mac": "02::1", "portMappings": []}).as_object().unwrap().clone();
    let list = list("1.0.0", json!({}));
    let result = bench.runtime.add(&list, &pod).unwrap();

    assert_eq!(result.ips[0].address.to_string(), "10.3.0.1/24");
    assert_eq!(bench.log(), ["one ADD c1", "two ADD c1", "three ADD c1"]);
    assert_eq!(
        bench.stdin_text("one", "ADD"),
        r#"{"type":"one","capabilities":{"ips":true,"mac":false},"vendor":{"z":1,"a":null},"name":"net","cniVersion":"1.0.0","runtimeConfig":{"ips":["10.9.0.9/24"]}}"#
    );
    let prev = |ip: &str| json!({"cniVersion": "1.0.0", "ips": [{"address": ip}], "dns": {}});
    let two = bench.stdin("two", "ADD");
    assert_eq!((&two["prevResult"], &two["runtimeConfig"]), (&prev("10.1.0.1/24"), &json!({"portMappings": []})));
    let three = bench.stdin("three", "ADD");
    assert_eq!((&three["prevResult"], &three["name"]), (&prev("10.2.0.1/24"), &json!("net")));
    assert_eq!(three.get("runtimeConfig"), None);
    let dir = bench.dir.path().display();
    assert_eq!(
        bench.env("two", "ADD"),
        [
            "CNI_ARGS=IgnoreUnknown=1;K8S_POD_NAME=web".to_owned(),
            "CNI_COMMAND=ADD".to_owned(),
            "CNI_CONTAINERID=c1".to_owned(),
            "CNI_IFNAME=eth0".to_owned(),
            "CNI_NETNS=/run/netns/c1".to_owned(),
            format!("CNI_PATH={dir}/nothing here:{dir}"),
        ]
    );
    assert_eq!(bench.runtime.cached_result(&list, &pod).unwrap(), Some(result));
    let cached = bench.runtime.cached_attachments().unwrap();
    assert_eq!((cached.len(), &cached[0].conf), (1, &pod));
    assert_eq!(cached[0].config, list.bytes());
}

#[test]
fn a_failed_add_stops_there_and_leaves_the_rest_to_del() {
    let bench = Bench::new();
    bench.fails("two", "ADD", r#"{"code": 11, "msg": "no luck", "details": "try later"}"#);
    let list = list("1.0.0", json!({}));
    let error = bench.runtime.add(&list, &pod("c1")).unwrap_err();
    assert_eq!(error.plugin_error().unwrap().code, ErrorCode::TRY_AGAIN_LATER);
    assert_eq!(error.to_string(), "network \"net\": plugin 2 of 3 (two) failed ADD: no luck; try later");
    assert_eq!(bench.log(), ["one ADD c1", "two ADD c1"]);
    assert_eq!(bench.runtime.cached_attachments().unwrap(), []);
    bench.runtime.del(&list, &pod("c1")).unwrap();
    assert_eq!(bench.log(), ["three DEL c1", "two DEL c1", "one DEL c1"]);
}

#[test]
fn a_plugin_that_is_missing_stops_add_before_anything_ran() {
    let bench = Bench::new();
    fs::remove_file(bench.dir.path().join("three")).unwrap();
    let error = bench.runtime.add(&list("1.0.0", json!({})), &pod("c1")).unwrap_err().to_string();
    assert!(error.contains("plugin 3 of 3 (three)") && error.contains("nothing here"), "{error}");
    assert!(bench.log().is_empty());
}

#[test]
fn a_result_that_is_none_names_the_plugin() {
    let bench = Bench::new();
    for (answer, word) in [("", "not JSON"), ("garbage", "garbage"), (r#"{"ips": 5}"#, "ips")] {
        bench.answers("two", "ADD", answer);
        let error = bench.runtime.add(&list("1.0.0", json!({})), &pod("c1")).unwrap_err().to_string();
        assert!(error.contains("plugin 2 of 3 (two)") && error.contains(word), "{error}");
    }
}

#[test]
fn invalid_names_run_nothing() {
    let bench = Bench::new();
    let list = list("1.1.0", json!({}));
    let mut bad_ifname = pod("c1");
    bad_ifname.ifname = "eth0:1".into();
    for conf in [pod("../c1"), pod(""), bad_ifname] {
        let results = [
            bench.runtime.add(&list, &conf).map(drop),
            bench.runtime.check(&list, &conf),
            bench.runtime.del(&list, &conf),
        ];
        assert!(results.iter().all(|result| matches!(result, Err(Error::InvalidName { .. }))), "{results:?}");
    }
    assert!(bench.log().is_empty());
}

#[test]
fn check_gives_each_plugin_the_final_result() {
    let bench = Bench::new();
    let list = list("0.4.0", json!({}));
    let missing = bench.runtime.check(&list, &pod("c1")).unwrap_err();
    assert!(
        matches!(missing, Error::NoCachedResult { .. }) && missing.to_string().contains("net-c1-eth0"),
        "{missing}"
    );
    bench.runtime.add(&list, &pod("c1")).unwrap();
    bench.log();
    bench.runtime.check(&list, &pod("c1")).unwrap();
    assert_eq!(bench.log(), ["one CHECK c1", "two CHECK c1", "three CHECK c1"]);
    for plugin in ["one", "three"] {
        let prev = &bench.stdin(plugin, "CHECK")["prevResult"];
        assert_eq!((&prev["cniVersion"], &prev["ips"][0]["address"]), (&json!("0.4.0"), &json!("10.3.0.1/24")));
    }
    bench.fails("two", "CHECK", r#"{"code": 100, "msg": "drift"}"#);
    assert!(bench.runtime.check(&list, &pod("c1")).unwrap_err().to_string().contains("(two) failed CHECK: drift"));
}

#[test]
fn check_is_for_versions_that_have_it_and_can_be_disabled() {
    let bench = Bench::new();
    let old = bench.runtime.check(&list("0.3.1", json!({"disableCheck": true})), &pod("c1")).unwrap_err();
    assert!(matches!(old, Error::CheckUnsupported { .. }));
    bench.runtime.check(&list("1.0.0", json!({"disableCheck": true})), &pod("c1")).unwrap();
    assert!(bench.log().is_empty());
}

#[test]
fn del_goes_backwards_with_the_result_and_forgets_it() {
    let bench = Bench::new();
    let list = list("1.0.0", json!({}));
    bench.runtime.add(&list, &pod("c1")).unwrap();
    bench.log();
    bench.fails("two", "DEL", r#"{"code": 11, "msg": "busy"}"#);
    assert!(bench.runtime.del(&list, &pod("c1")).unwrap_err().to_string().contains("plugin 2 of 3 (two) failed DEL"));
    assert_eq!(bench.log(), ["three DEL c1", "two DEL c1"]);
    bench.heals("two", "DEL");
    bench.runtime.del(&list, &pod("c1")).unwrap();
    assert_eq!(bench.log(), ["three DEL c1", "two DEL c1", "one DEL c1"]);
    for plugin in ["one", "two", "three"] {
        assert_eq!(bench.stdin(plugin, "DEL")["prevResult"]["ips"][0]["address"], "10.3.0.1/24");
    }
    assert!(!bench.cache_file("net-c1-eth0").exists());

    // Again: there is no result any more, and no error.
    bench.runtime.del(&list, &pod("c1")).unwrap();
    assert_eq!(bench.stdin("one", "DEL").get("prevResult"), None);
}

#[test]
fn del_without_netns_or_with_a_damaged_cache_is_no_error() {
    let bench = Bench::new();
    let list = list("1.0.0", json!({}));
    bench.runtime.add(&list, &pod("c1")).unwrap();
    fs::write(bench.cache_file("net-c1-eth0"), "{").unwrap();
    let mut gone = pod("c1");
    gone.netns = None;
    bench.runtime.del(&list, &gone).unwrap();
    assert!(bench.env("one", "DEL").contains(&"CNI_NETNS=".to_owned()));
    assert_eq!(bench.stdin("one", "DEL").get("prevResult"), None);
    assert!(!bench.cache_file("net-c1-eth0").exists());
}

#[test]
fn del_before_0_4_0_has_no_result_and_still_forgets_it() {
    let bench = Bench::new();
    let list = list("0.3.1", json!({}));
    bench.runtime.add(&list, &pod("c1")).unwrap();
    bench.runtime.del(&list, &pod("c1")).unwrap();
    assert_eq!(bench.stdin("one", "DEL").get("prevResult"), None);
    assert!(!bench.cache_file("net-c1-eth0").exists());
}

#[test]
fn del_does_not_take_the_file_of_another_attachment() {
    let bench = Bench::new();
    bench.runtime.add(&list("1.0.0", json!({"name": "net-a"})), &pod("b")).unwrap();
    bench.runtime.del(&list("1.0.0", json!({})), &pod("a-b")).unwrap();
    assert_eq!(bench.stdin("one", "DEL").get("prevResult"), None);
    assert!(bench.cache_file("net-a-b-eth0").exists());
}

#[test]
fn gc_deletes_the_stale_as_they_were_added_and_then_asks_each_plugin() {
    let bench = Bench::new();
    let list = list("1.1.0", json!({}));
    for container_id in ["keep", "stale"] {
        let mut pod = pod(container_id);
        pod.args = vec![("K8S_POD_NAME".into(), container_id.into())];
        bench.runtime.add(&list, &pod).unwrap();
    }
    let other = NetworkList::from_bytes(br#"{"name": "other", "plugins": [{"type": "one"}]}"#.to_vec()).unwrap();
    bench.runtime.add(&other, &pod("foreign")).unwrap();
    bench.log();

    bench.runtime.gc(&list, &[valid("keep"), valid("never-seen")]).unwrap();
    let dels = ["three DEL stale", "two DEL stale", "one DEL stale"];
    assert_eq!(bench.log(), [&dels[..], &["one GC", "two GC", "three GC"]].concat());
    let env = bench.env("one", "DEL");
    assert!(env.contains(&"CNI_ARGS=K8S_POD_NAME=stale".to_owned()), "{env:?}");
    assert!(env.contains(&"CNI_NETNS=/run/netns/stale".to_owned()), "{env:?}");
    let config = bench.stdin("two", "GC");
    let attachments =
        json!([{"containerID": "keep", "ifname": "eth0"}, {"containerID": "never-seen", "ifname": "eth0"}]);
    assert_eq!((&config["cni.dev/valid-attachments"], &config["cni.dev/attachments"]), (&attachments, &attachments));
    assert_eq!((&config["name"], &config["cniVersion"]), (&json!("net"), &json!("1.1.0")));
    let left: Vec<String> =
        bench.runtime.cached_attachments().unwrap().into_iter().map(|cached| cached.conf.container_id).collect();
    assert_eq!(left, ["keep", "foreign"]);
}

#[test]
fn gc_goes_on_after_errors_and_tells_them_all() {
    let bench = Bench::new();
    let list = list("1.1.0", json!({}));
    bench.runtime.add(&list, &pod("a")).unwrap();
    bench.runtime.add(&list, &pod("b")).unwrap();
    bench.log();
    bench.fails("three", "DEL", r#"{"code": 11, "msg": "busy"}"#);
    bench.fails("one", "GC", r#"{"code": 5, "msg": "disk"}"#);
    let error = bench.runtime.gc(&list, &[]).unwrap_err();
    let Error::Several(errors) = &error else { panic!("{error}") };
    assert_eq!(errors.len(), 3, "{error}");
    assert!(errors[0].to_string().contains("container a interface eth0") && errors[1].to_string().contains("busy"));
    assert!(errors[2].to_string().contains("plugin 1 of 3 (one) failed GC: disk"), "{error}");
    assert_eq!(bench.log(), ["three DEL a", "three DEL b", "one GC", "two GC", "three GC"]);
    assert_eq!(bench.stdin("two", "GC")["cni.dev/valid-attachments"], Value::Array(vec![]));
}

#[test]
fn gc_before_1_1_0_only_deletes_and_can_be_disabled() {
    let bench = Bench::new();
    let old = list("1.0.0", json!({}));
    bench.runtime.add(&old, &pod("stale")).unwrap();
    bench.log();
    bench.runtime.gc(&list("1.1.0", json!({"disableGC": "true"})), &[]).unwrap();
    assert!(bench.log().is_empty());
    bench.runtime.gc(&old, &[]).unwrap();
    assert_eq!(bench.log(), ["three DEL stale", "two DEL stale", "one DEL stale"]);
}

#[test]
fn status_stops_at_the_first_no_and_keeps_its_code() {
    let bench = Bench::new();
    let list_1_1 = list("1.1.0", json!({}));
    bench.runtime.status(&list_1_1).unwrap();
    assert_eq!(bench.log(), ["one STATUS", "two STATUS", "three STATUS"]);
    bench.fails("two", "STATUS", r#"{"code": 51, "msg": "limping"}"#);
    let error = bench.runtime.status(&list_1_1).unwrap_err();
    assert_eq!(error.plugin_error().unwrap().code, ErrorCode::LIMITED_CONNECTIVITY);
    assert_eq!(bench.log(), ["one STATUS", "two STATUS"]);
    bench.runtime.status(&list("1.0.0", json!({}))).unwrap();
    assert!(bench.log().is_empty());
}

#[test]
fn versions_are_asked_for() {
    let bench = Bench::new();
    bench.answers("one", "VERSION", r#"{"cniVersion": "1.1.0", "supportedVersions": ["1.0.0", "1.1.0"]}"#);
    assert_eq!(bench.runtime.versions("one").unwrap(), ["1.0.0", "1.1.0"]);
    assert_eq!(bench.stdin("one", "VERSION"), json!({"cniVersion": "1.1.0"}));
    bench.fails("two", "VERSION", r#"{"code": 4, "msg": "unknown CNI_COMMAND: VERSION"}"#);
    assert_eq!(bench.runtime.versions("two").unwrap(), ["0.1.0"]);
    assert!(bench.runtime.versions("nonesuch").unwrap_err().to_string().contains("nonesuch"));
}
