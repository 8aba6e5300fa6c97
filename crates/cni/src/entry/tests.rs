use std::cell::RefCell;
use std::ffi::OsString;
use std::io::{self, Cursor};
use std::os::unix::ffi::OsStringExt;

use serde_json::{Value, json};

use super::*;
use crate::call::NetworkCall;
use crate::config::Attachment;
use crate::result::{CniResult, IpConfig};

/// Answers with an address, counts what it is asked, and does as its config's `do` says.
#[derive(Default)]
struct Fake {
    calls: RefCell<Vec<String>>,
}

impl Fake {
    fn called(&self, verb: &str, call: &NetworkCall) -> Result<(), Error> {
        self.calls.borrow_mut().push(verb.to_owned());
        #[derive(serde::Deserialize)]
        struct Config {
            #[serde(rename = "do", default)]
            todo: String,
        }
        match call.config.read::<Config>()?.todo.as_str() {
            "fail" => Err(Error::new(ErrorCode(101), "failed on purpose")),
            _ => Ok(()),
        }
    }
}

impl Plugin for Fake {
    fn name(&self) -> &'static str {
        "fake"
    }
    fn add(&self, call: &AttachmentCall) -> Result<CniResult, Error> {
        self.called("ADD", &call.network)?;
        let ip = IpConfig { interface: None, address: "10.0.0.2/24".parse().unwrap(), gateway: None };
        Ok(CniResult { ips: vec![ip], ..CniResult::default() })
    }
    fn check(&self, call: &AttachmentCall) -> Result<(), Error> {
        self.called("CHECK", &call.network)
    }
    fn del(&self, call: &AttachmentCall) -> Result<(), Error> {
        self.called(if call.netns.is_some() { "DEL" } else { "DEL without netns" }, &call.network)
    }
    fn gc(&self, call: &NetworkCall, valid: &[Attachment]) -> Result<(), Error> {
        self.called(&format!("GC {}", valid.len()), call)
    }
    fn status(&self, call: &NetworkCall) -> Result<(), Error> {
        self.called("STATUS", call)
    }
}

struct Answer {
    ok: bool,
    json: Value,
    calls: Vec<String>,
}

fn variables(verb: &str, changes: &[(&str, &str)]) -> Vec<(String, OsString)> {
    let mut all = vec![
        ("CNI_COMMAND", verb),
        ("CNI_CONTAINERID", "c1"),
        ("CNI_NETNS", "/does/not/exist"),
        ("CNI_IFNAME", "eth0"),
        ("CNI_PATH", "/opt/cni/bin"),
    ];
    all.retain(|(key, _)| !changes.iter().any(|(changed, _)| changed == key));
    all.iter().chain(changes).map(|(key, value)| ((*key).to_owned(), OsString::from(value))).collect()
}

fn serve_with(variables: &[(String, OsString)], stdin: &mut dyn Read) -> Answer {
    let fake = Fake::default();
    let mut out = Vec::new();
    let lookup = |name: &str| variables.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
    let ok = serve(&fake, |_| None, &lookup, stdin, &mut out).is_ok();
    let json = if out.is_empty() { Value::Null } else { serde_json::from_slice(&out).unwrap() };
    Answer { ok, json, calls: fake.calls.into_inner() }
}

fn call(verb: &str, changes: &[(&str, &str)], config: Value) -> Answer {
    serve_with(&variables(verb, changes), &mut Cursor::new(config.to_string()))
}

fn config(version: &str) -> Value {
    json!({"cniVersion": version, "name": "net", "type": "fake"})
}

#[track_caller]
fn refused(answer: &Answer, code: u32, word: &str) {
    assert!(!answer.ok, "{}", answer.json);
    assert_eq!(answer.json["code"], code, "{}", answer.json);
    assert!(answer.json["msg"].as_str().unwrap().contains(word), "{}", answer.json);
    assert!(answer.calls.is_empty(), "the plugin was reached: {:?}", answer.calls);
}

#[test]
fn each_verb_reaches_the_plugin_and_the_answer_is_in_the_configs_version() {
    for version in SpecVersion::ALL {
        let add = call("ADD", &[], config(version.as_str()));
        assert!(add.ok);
        assert_eq!((&add.json["cniVersion"], &add.calls[..]), (&json!(version.as_str()), &["ADD".to_owned()][..]));
        let del = call("DEL", &[], config(version.as_str()));
        assert_eq!((del.ok, del.json, del.calls), (true, Value::Null, vec!["DEL".to_owned()]));
    }
    let mut gc = config("1.1.0");
    gc["cni.dev/valid-attachments"] = json!([{"containerID": "a", "ifname": "eth0"}]);
    assert_eq!(call("GC", &[], gc).calls, ["GC 1"]);
    assert_eq!(call("STATUS", &[], config("1.1.0")).calls, ["STATUS"]);
    assert_eq!(call("CHECK", &[], config("0.4.0")).calls, ["CHECK"]);
}

#[test]
fn version_needs_nothing_else() {
    let only_command = vec![("CNI_COMMAND".to_owned(), OsString::from("VERSION"))];
    let answer = serve_with(&only_command, &mut Cursor::new(""));
    assert!(answer.ok);
    assert_eq!(answer.json["supportedVersions"].as_array().unwrap().len(), 7);
    assert_eq!(answer.json["cniVersion"], "1.1.0");
}

#[test]
fn a_verb_its_version_does_not_have_is_refused() {
    refused(&call("CHECK", &[], config("0.3.1")), 1, "CHECK");
    refused(&call("GC", &[], config("1.0.0")), 1, "GC");
    refused(&call("STATUS", &[], config("1.0.0")), 1, "STATUS");
    refused(&call("ADD", &[], config("3.0.0")), 1, "incompatible");
    refused(&call("add", &[], config("1.0.0")), 4, "unknown CNI_COMMAND");
}

#[test]
fn missing_and_invalid_variables_are_named() {
    for (verb, name) in [
        ("ADD", "CNI_CONTAINERID"),
        ("ADD", "CNI_NETNS"),
        ("ADD", "CNI_IFNAME"),
        ("ADD", "CNI_PATH"),
        ("CHECK", "CNI_NETNS"),
        ("DEL", "CNI_CONTAINERID"),
        ("DEL", "CNI_IFNAME"),
        ("GC", "CNI_PATH"),
        ("STATUS", "CNI_PATH"),
    ] {
        refused(&call(verb, &[(name, "")], config("1.1.0")), 4, name);
    }
    refused(&call("ADD", &[("CNI_CONTAINERID", "../x")], config("1.0.0")), 4, "containerID");
    refused(&call("ADD", &[("CNI_IFNAME", "a/b")], config("1.0.0")), 4, "a/b");
    refused(&call("DEL", &[("CNI_IFNAME", "0123456789abcdef")], config("1.0.0")), 4, "15 bytes");
    refused(&call("ADD", &[("CNI_ARGS", "IP")], config("1.0.0")), 4, "CNI_ARGS");
    let not_text = OsString::from_vec(vec![0xff]);
    let mut broken = variables("ADD", &[]);
    broken.push(("CNI_ARGS".to_owned(), not_text));
    refused(&serve_with(&broken, &mut Cursor::new(config("1.0.0").to_string())), 4, "CNI_ARGS");
}

#[test]
fn del_goes_on_without_netns_and_with_broken_args() {
    assert_eq!(call("DEL", &[("CNI_NETNS", ""), ("CNI_ARGS", "IP")], config("1.0.0")).calls, ["DEL without netns"]);
}

#[test]
fn the_plugins_own_namespace_is_refused_unless_overridden() {
    let own = ("CNI_NETNS", "/proc/thread-self/ns/net");
    refused(&call("ADD", &[own], config("1.0.0")), 8, "netns");
    refused(&call("CHECK", &[own], config("1.0.0")), 8, "netns");
    for yes in ["1", "true", "TRUE"] {
        assert_eq!(call("ADD", &[own, ("CNI_NETNS_OVERRIDE", yes)], config("1.0.0")).calls, ["ADD"]);
    }
    refused(&call("ADD", &[own, ("CNI_NETNS_OVERRIDE", "0")], config("1.0.0")), 8, "netns");
    let del = call("DEL", &[own], config("1.0.0"));
    assert_eq!((del.ok, &del.json["code"], &del.calls[..]), (false, &json!(8), &["DEL without netns".to_owned()][..]));
}

#[test]
fn what_is_no_config_is_refused() {
    let add = variables("ADD", &[]);
    for bad in ["", "{\"cniVersion\": \"1.0.0\", \"na", "null", "\"x\""] {
        refused(&serve_with(&add, &mut Cursor::new(bad)), 6, "config");
    }
    refused(&serve_with(&add, &mut Cursor::new(b"{\"name\": \"\xff\xfe\"}")), 6, "config");
    refused(&serve_with(&add, &mut io::repeat(b' ')), 6, "larger than");
    let deep = "[".repeat(100_000);
    refused(&serve_with(&add, &mut Cursor::new(deep)), 6, "config");
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::from(io::ErrorKind::ConnectionReset))
        }
    }
    refused(&serve_with(&add, &mut Broken), 5, "stdin");
}

#[test]
fn a_plugins_error_is_an_answer() {
    let mut failing = config("0.4.0");
    failing["do"] = json!("fail");
    let answer = call("ADD", &[], failing);
    assert!(!answer.ok);
    assert_eq!(
        answer.json,
        json!({"cniVersion": "0.4.0", "code": 101, "msg": "failed on purpose",
               "details": "network \"net\", container c1 interface eth0"})
    );
}

#[test]
fn an_add_that_nobody_hears_of_is_undone() {
    struct Closed;
    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::Error::from(io::ErrorKind::BrokenPipe))
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let fake = Fake::default();
    let variables = variables("ADD", &[]);
    let lookup = |name: &str| variables.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
    let served = serve(&fake, |_| None, &lookup, &mut Cursor::new(config("1.0.0").to_string()), &mut Closed);
    assert_eq!((served, fake.calls.into_inner()), (Err(()), vec!["ADD".to_owned(), "DEL".to_owned()]));
}
