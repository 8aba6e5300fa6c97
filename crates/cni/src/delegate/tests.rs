use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{MutexGuard, PoisonError};

use super::*;
use crate::config::NetConf;
use crate::error::ErrorCode;
use crate::program::tests::FORKING;

struct Scripts {
    dir: tempfile::TempDir,
    _alone: MutexGuard<'static, ()>,
}

impl Scripts {
    /// A directory with one plugin, `ipam`, that runs `script` and first notes its verb in the file `verbs`.
    fn new(script: &str) -> Scripts {
        Scripts::named("ipam", script)
    }

    fn named(name: &str, script: &str) -> Scripts {
        let alone = FORKING.lock().unwrap_or_else(PoisonError::into_inner);
        let dir = tempfile::tempdir().unwrap();
        let text = format!("#!/bin/sh\necho $CNI_COMMAND >> {}/verbs\n{script}\n", dir.path().display());
        let options = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o755).clone();
        options.open(dir.path().join(name)).unwrap().write_all(text.as_bytes()).unwrap();
        Scripts { dir, _alone: alone }
    }

    fn call(&self) -> NetworkCall {
        call_with(self.dir.path(), "{\"cniVersion\": \"1.0.0\", \"name\": \"net\"}")
    }

    fn verbs(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.dir.path().join("verbs")).unwrap();
        text.lines().map(str::to_owned).collect()
    }
}

fn call_with(dir: &Path, config: &str) -> NetworkCall {
    NetworkCall {
        config: NetConf::parse(config.into()).unwrap(),
        args: crate::CniArgs::default(),
        path: vec!["/does/not/exist".into(), dir.to_owned()],
        environment: vec![("CNI_CONTAINERID", "c1".to_owned()), ("CNI_IFNAME", "eth0".to_owned())],
        suite: |_| None,
        steps: Default::default(),
    }
}

#[test]
fn the_result_comes_back_and_the_config_goes_over_whole() {
    let scripts = Scripts::new(
        r#"[ "$(wc -c)" = 300000 ] && [ "$CNI_CONTAINERID" = c1 ] && echo '{"ips": [{"address": "10.0.0.2/24"}]}'"#,
    );
    let head = r#"{"cniVersion": "1.0.0", "name": "net", "pad": ""#;
    let config = format!("{head}{}\"}}", "x".repeat(300_000 - head.len() - 2));
    let call = call_with(scripts.dir.path(), &config);
    let result = Delegate::find(&call, "ipam").unwrap().start_add().unwrap().add().unwrap();
    assert_eq!(result.ips[0].address.to_string(), "10.0.0.2/24");
    assert_eq!(scripts.verbs(), ["ADD"]);
}

#[test]
fn an_answer_in_an_older_version_is_understood() {
    let scripts = Scripts::new(r#"echo '{"cniVersion": "0.2.0", "ip4": {"ip": "10.0.0.2/24"}}'"#);
    assert_eq!(Delegate::find(&scripts.call(), "ipam").unwrap().start_add().unwrap().add().unwrap().ips.len(), 1);
}

#[test]
fn a_missing_plugin_is_named_with_where_it_was_looked_for() {
    let scripts = Scripts::new("");
    let call = scripts.call();
    let error = Delegate::find(&call, "nonesuch").err().unwrap();
    assert_eq!(error.code, ErrorCode::INVALID_CONFIG);
    assert!(error.msg.contains("nonesuch") && error.msg.contains("/does/not/exist"), "{error}");
    assert!(Delegate::find(&call, "../ipam").is_err());
    assert!(Delegate::find(&call, "verbs").is_err());
}

#[test]
fn its_own_error_is_passed_on_and_nothing_is_undone() {
    let scripts = Scripts::new(r#"echo '{"code": 11, "msg": "full"}'; exit 1"#);
    let error = Delegate::find(&scripts.call(), "ipam").unwrap().start_add().unwrap().add().unwrap_err();
    assert_eq!((error.code, error.msg.as_str()), (ErrorCode::TRY_AGAIN_LATER, "IPAM plugin ipam: full"));
    assert_eq!(scripts.verbs(), ["ADD"]);
}

#[test]
fn after_garbage_a_crash_or_a_bare_failure_the_plugin_is_told_to_del() {
    for (script, word) in [
        ("echo garbage", "garbage"),
        ("exit 0", "no valid result"),
        (r#"echo '{"ips": [{"address": "x"}]}'"#, "ips[0].address"),
        (r#"[ $CNI_COMMAND = DEL ] || kill -9 $$"#, "signal 9"),
        ("[ $CNI_COMMAND = DEL ] || exit 3", "exit status: 3"),
    ] {
        // Else an earlier ADD may be in force, which the DEL would undo.
        for (is_new, verbs) in [(true, &["ADD", "DEL"][..]), (false, &["ADD"])] {
            let (scripts, attachment) =
                (Scripts::new(script), Attachment { container_id: "c1".to_owned(), ifname: "eth0".to_owned() });
            let call = scripts.call();
            let delegate = Delegate::find(&call, "ipam").unwrap();
            let delegate = if is_new { delegate.for_new_interface(&attachment) } else { delegate };
            let error = delegate.start_add().unwrap().add().unwrap_err();
            assert!(error.to_string().contains(word), "{script}: {error}");
            assert_eq!(scripts.verbs(), verbs, "{script}");
        }
    }
}

#[test]
fn output_that_never_ends_is_cut_off() {
    let scripts = Scripts::new("[ $CNI_COMMAND = DEL ] || exec yes");
    let error = Delegate::find(&scripts.call(), "ipam").unwrap().start_add().unwrap().add().unwrap_err();
    assert!(error.msg.contains("printed more than"), "{error}");
}

#[test]
fn a_plugin_that_is_not_given_its_config_does_nothing_and_is_ended() {
    let scripts = Scripts::named("static", "config=$(cat); [ -z \"$config\" ] || echo acted >> \"${0%/*}\"/acted");
    let call = scripts.call();
    let delegate = Delegate::find(&call, "static").unwrap();
    drop(delegate.start_add().unwrap());
    assert!(!scripts.dir.path().join("acted").exists());
    delegate.del().unwrap();
    assert!(scripts.dir.path().join("acted").exists());
}

#[test]
fn a_plugin_that_may_act_without_its_config_is_not_started_before_its_turn() {
    let scripts = Scripts::new("true");
    let call = scripts.call();
    drop(Delegate::find(&call, "ipam").unwrap().start_add().unwrap());
    assert!(!scripts.dir.path().join("verbs").exists());
}
