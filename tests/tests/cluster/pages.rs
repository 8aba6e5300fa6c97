//! The pages of docs/: their commands run, and print what the pages say.

use std::path::{Path, PathBuf};
use std::process::Command;

use podlink_tests::jail::Jail;
use podlink_tests::{BinDir, Node, process};

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs")
}

/// The blocks of a page between lines that begin with three backquotes: what they are, and their text.
fn blocks(page: &str) -> Vec<(String, String)> {
    let text = std::fs::read_to_string(docs().join(page)).unwrap_or_else(|e| panic!("docs/{page}: {e}"));
    let mut found = Vec::new();
    for (index, part) in text.split("```").enumerate() {
        if index % 2 == 1
            && let Some((kind, body)) = part.split_once('\n')
        {
            found.push((kind.to_owned(), body.to_owned()));
        }
    }
    found
}

/// Runs the laboratory's commands and the page's in one shell, on a node that stands for the machine; each line of the page's
/// `text` blocks must be part of a line that the commands before it have printed.
fn holds(page: &str) {
    let mut script = String::from("set -euo pipefail\n");
    let mut expected = Vec::new();
    let all: Vec<_> = ["README.md"].into_iter().chain((page != "README.md").then_some(page)).flat_map(blocks).collect();
    for (kind, body) in all {
        match &*kind {
            "sh" => script += &body,
            "text" => {
                expected.push(body);
                script += "echo \"== ${part:=0}\"; part=$((part + 1))\n";
            }
            _ => {}
        }
    }
    let node = Node::new();
    let jail = Jail::new(&node);
    let file = node.dir().join("page.sh");
    podlink_tests::files::write(&file, &script);
    let mut command: Command = jail.command("bash");
    command.arg(&file).env("CNI_PATH", BinDir::ours().path());
    let finished = process::run(&mut command, b"", process::DEADLINE);
    assert!(finished.code == Some(0), "docs/{page}: {finished}");
    let parts: Vec<&str> = finished.stdout.split("== ").collect();
    for (expected, printed) in expected.iter().zip(&parts) {
        for line in expected.lines() {
            assert!(
                printed.lines().any(|found| found.contains(line)),
                "docs/{page}: no {line:?} in:\n{printed}\n{}",
                finished.stderr
            );
        }
    }
    assert!(!expected.is_empty(), "docs/{page} does not say what to see");
}

#[test]
fn the_commands_of_the_page_on_pod_to_pod_do_what_it_says() {
    holds("pod-to-pod.md");
}

#[test]
fn the_commands_of_the_page_on_services_in_iptables_mode_do_what_it_says() {
    holds("services-iptables.md");
}

#[test]
fn the_commands_of_the_page_on_services_in_nftables_mode_do_what_it_says() {
    holds("services-nftables.md");
}

#[test]
fn the_commands_of_the_page_on_dns_do_what_it_says() {
    holds("dns.md");
}

#[test]
fn the_commands_of_the_page_on_ingress_do_what_it_says() {
    holds("ingress.md");
}
