//! A kernel with the older iptables alone, in user-mode-linux.

use std::process::Command;

use podlink_tests::{BinDir, conf, need};
use serde_json::{Value, json};

/// A kernel with the older iptables alone: nothing but the rules' comments can tell whose they are.
#[test]
fn without_nf_tables_the_rules_themselves_name_their_owner() {
    need::root();
    need::tool("linux.uml");
    let script = r#"
        set -eu
        mkdir /run/iptables
        for name in iptables ip6tables iptables-save ip6tables-save iptables-restore ip6tables-restore; do
            ln -s /usr/sbin/xtables-legacy-multi /run/iptables/$name
        done
        export PATH=/run/iptables:$PATH
        export CNI_CONTAINERID=c1 CNI_IFNAME=eth0 CNI_PATH=/none CNI_NETNS=/none
        firewall() { printf '%s' "$2" | CNI_COMMAND=$1 "$PODLINK_BIN_DIR/firewall" >&2; }
        pods() { iptables-save -t filter | grep -c '^-A CNI-FORWARD.*10[.]1[.]0[.]2/32' || true; }
        firewall STATUS "$1"; firewall ADD "$1"; firewall ADD "$1"; firewall CHECK "$1"; pods
        iptables -F CNI-FORWARD; firewall CHECK "$1" && echo no drift; firewall ADD "$1"; firewall CHECK "$1"; pods
        firewall DEL "$2"; firewall DEL "$2"; pods
        firewall ADD "$1"; firewall GC "$3"; pods
        firewall ADD "$4" && echo no error; firewall STATUS "$4" && echo ready; pods
    "#;
    let bare = json!({ "cniVersion": "1.1.0", "name": "net", "type": "firewall" });
    let result = json!({
        "cniVersion": "1.1.0",
        "interfaces": [{ "name": "cni0" }],
        "ips": [{ "address": "10.1.0.2/16" }],
    });
    let add = conf::with(bare.clone(), json!({ "ingressPolicy": "same-bridge", "prevResult": result }));
    let gc = conf::with(bare.clone(), json!({ "cni.dev/valid-attachments": [] }));
    let native = conf::with(add.clone(), json!({ "backend": "nftables" }));
    let mut uml = Command::new(need::tool("setpriv"));
    uml.args(["--pdeathsig", "TERM", concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/uml-run.sh")]);
    for module in ["ip_tables", "iptable_filter", "nf_conntrack", "xt_conntrack", "xt_comment", "nf_tables"] {
        uml.args(["--module", module]);
    }
    uml.env("PODLINK_BIN_DIR", BinDir::ours().path()).args(["--", "sh", "-c", script, "sh"]);
    uml.args([&add, &bare, &gc, &native].map(Value::to_string));
    let finished = podlink_tests::process::run(&mut uml, b"", podlink_tests::uml::DEADLINE);
    let account = finished.to_string();
    let counts: Vec<String> = finished.success().split_whitespace().map(str::to_owned).collect();
    let answers = |text: &str| text.parse::<u8>().is_ok() || ["no", "drift", "error", "ready"].contains(&text);
    let counts: Vec<String> = counts.into_iter().filter(|word| answers(word)).collect();
    assert_eq!(counts, ["2", "2", "0", "0", "0"], "{account}");
}
