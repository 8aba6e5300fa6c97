use super::*;

fn read_with(arguments: &[&str], variables: &[(&str, &str)]) -> Result<Action, String> {
    let variables = |name: &str| {
        let all = [("CNI_PATH", "/opt/cni/bin")].iter().chain(variables);
        all.rev().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value))
    };
    read(Parser::from_args(arguments), &variables)
}

fn request(arguments: &[&str], variables: &[(&str, &str)]) -> Request {
    match read_with(arguments, variables) {
        Ok(Action::Run(request)) => *request,
        other => panic!("{arguments:?}: {other:?}"),
    }
}

#[test]
fn the_defaults_and_the_container_id_are_the_go_tools() {
    let request = request(&["add", "net", "/var/run/netns/testing"], &[]);
    assert_eq!(
        request,
        Request {
            command: Command::Add,
            config_dir: "/etc/cni/net.d".into(),
            network: "net".into(),
            path: vec!["/opt/cni/bin".into()],
            cache_dir: "/var/lib/cni".into(),
            // printf %s /var/run/netns/testing | sha512sum | cut -c1-20
            pod: RuntimeConf::new("cnitool-77383ca0a0715733ca6f", "eth0", Some("/var/run/netns/testing".into())),
            keep: Vec::new(),
        }
    );
}

#[test]
fn the_same_namespace_by_another_spelling_has_the_same_id() {
    let id = |path: &str| request(&["del", "net", path], &[]).pod.container_id;
    assert_eq!(id("/var/run/netns/x"), id("/var//run/./other/../netns/x/"));
    let here = std::env::current_dir().unwrap().join("x");
    assert_eq!(id("x"), id(here.to_str().unwrap()));
}

#[test]
fn variables() {
    let variables = [
        ("CNI_PATH", "/a::/b"),
        ("NETCONFPATH", "/nets"),
        ("CNI_IFNAME", "net1"),
        ("CNI_ARGS", "IgnoreUnknown=1;IP=10.1.2.3"),
        ("CAP_ARGS", r#"{"ips": ["10.1.2.3/24"]}"#),
    ];
    let Request { path, config_dir, pod, .. } = request(&["check", "net", "/n"], &variables);
    assert_eq!((path, config_dir), (vec!["/a".into(), "/b".into()], PathBuf::from("/nets")));
    assert_eq!(pod.ifname, "net1");
    assert_eq!(pod.args, [("IgnoreUnknown".into(), "1".into()), ("IP".into(), "10.1.2.3".into())]);
    assert_eq!(Value::Object(pod.capability_args), serde_json::json!({"ips": ["10.1.2.3/24"]}));
    assert_eq!(request(&["-i", "flag0", "check", "net", "/n"], &variables).pod.ifname, "flag0");
    assert_eq!(request(&["add", "net", "/n"], &[("CNI_IFNAME", "")]).pod.ifname, "eth0");
}

#[test]
fn gc_and_status_need_no_namespace() {
    let request = request(&["gc", "net", "--keep", "a/eth0", "--keep=b/net1", "--cache-dir", "/c"], &[]);
    let keep: Vec<String> = request.keep.iter().map(Attachment::to_string).collect();
    assert_eq!(keep, ["container a interface eth0", "container b interface net1"]);
    assert_eq!((request.command, request.cache_dir), (Command::Gc, PathBuf::from("/c")));
    assert!(read_with(&["status", "net", "/n"], &[]).is_ok());
}

#[test]
fn mistakes_are_told() {
    for (arguments, variables, word) in [
        (&[][..], &[][..], "cnitool add"),
        (&["frob", "net", "/n"], &[], "frob"),
        (&["add", "net"], &[], "required"),
        (&["add"], &[], "expected"),
        (&["add", "net", "/n", "more"], &[], "expected"),
        (&["add", "net", "/n", "--nonsense"], &[], "--nonsense"),
        (&["add", "net", "/n", "--keep", "a/eth0"], &[], "gc only"),
        (&["gc", "net", "--keep", "a"], &[], "--keep \"a\""),
        (&["add", "net", "/n"], &[("CNI_PATH", "")], "CNI_PATH"),
        (&["add", "net", "/n"], &[("CNI_ARGS", "a=b;c")], "\"c\""),
        (&["add", "net", "/n"], &[("CNI_ARGS", "a=")], "\"a=\""),
        (&["add", "net", "/n"], &[("CAP_ARGS", "[]")], "CAP_ARGS"),
    ] {
        let error = read_with(arguments, variables).unwrap_err();
        assert!(error.contains(word), "{arguments:?} {variables:?}: {error}");
    }
}

#[test]
fn help_and_version_need_nothing_else() {
    for (arguments, word) in
        [(["--help"], "NETCONFPATH"), (["help"], "NETCONFPATH"), (["version"], "1.1.0"), (["-V"], "1.1.0")]
    {
        match read_with(&arguments, &[("CNI_PATH", "")]) {
            Ok(Action::Explain(text)) => assert!(text.contains(word), "{text}"),
            other => panic!("{other:?}"),
        }
    }
}
