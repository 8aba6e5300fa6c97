//! `podlink install` and `uninstall`: what is where before, after, and when it was killed in between.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use podlink_tests::process::{Finished, run};
use podlink_tests::{BinDir, need};
use serde_json::{Value, json};
use tempfile::TempDir;

const NAMES: [&str; 10] =
    ["bandwidth", "bridge", "firewall", "flannel", "host-local", "loopback", "portmap", "ptp", "static", "tuning"];
const DEADLINE: Duration = Duration::from_secs(60);

/// A place for plugins and one for configs, in memory: what is copied there is large in a debug build.
struct Ground {
    dir: TempDir,
}

impl Ground {
    fn new() -> Ground {
        let ground = Ground { dir: tempfile::tempdir_in("/dev/shm").unwrap() };
        // Without what a debug build has for debuggers, which is nine tenths of it.
        let mut strip = Command::new(need::tool("strip"));
        strip.arg(BinDir::ours().plugin("podlink")).arg("-o").arg(ground.program());
        run(&mut strip, b"", DEADLINE).success();
        ground
    }

    /// The program under test.
    fn program(&self) -> PathBuf {
        self.dir.path().join("podlink")
    }

    /// The same with the reference's bridge among the plugins, and a plugin that podlink does not have.
    fn with_others() -> Ground {
        let ground = Ground::new();
        std::fs::create_dir(ground.bin("")).unwrap();
        podlink_tests::files::copy_program(&BinDir::reference().plugin("bridge"), &ground.bin("bridge"));
        std::fs::write(ground.bin("theirs"), "#!/bin/sh\n").unwrap();
        ground
    }

    fn bin(&self, name: &str) -> PathBuf {
        self.dir.path().join("bin").join(name)
    }

    fn conf(&self, name: &str) -> PathBuf {
        self.dir.path().join("net.d").join(name)
    }

    fn command(&self, program: &Path, verb: &str, more: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.arg(verb).arg("--bin-dir").arg(self.bin("")).arg("--conf-dir").arg(self.conf("")).args(more);
        command
    }

    fn podlink(&self, verb: &str, more: &[&str]) -> Finished {
        run(&mut self.command(&self.program(), verb, more), b"", DEADLINE)
    }

    fn is_ours(&self, file: &Path) -> bool {
        file.exists() && same(file, &self.program())
    }

    /// A config outside of the configs' directory, for `--conf`.
    fn write_conf(&self, name: &str, content: &Value) -> String {
        let file = self.dir.path().join(name);
        std::fs::write(&file, content.to_string()).unwrap();
        file.to_str().unwrap().to_owned()
    }

    /// A program that is podlink, but not this one: an older one.
    fn older(&self) -> PathBuf {
        let file = self.dir.path().join("podlink-older");
        // By another process, or one that is just being forked elsewhere may keep it open for writing (ETXTBSY).
        let script = r#"cat "$0" >"$1"; echo older >>"$1"; chmod 755 "$1""#;
        let mut writer = Command::new("sh");
        writer.args(["-c", script]).arg(self.program()).arg(&file);
        run(&mut writer, b"", DEADLINE).success();
        file
    }

    /// The names that are there, hidden ones too, without the directories for what was replaced.
    fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.bin("")).unwrap().map(|entry| entry.unwrap());
        let mut names: Vec<_> = entries.map(|entry| entry.file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Nothing is left but what was there before.
    #[track_caller]
    fn is_as_before(&self) {
        assert_eq!(self.names(), ["bridge", "theirs"]);
        assert!(same(&self.bin("bridge"), &BinDir::reference().plugin("bridge")));
        let configs = std::fs::read_dir(self.conf("")).map_or(0, Iterator::count);
        assert_eq!(configs, 0);
    }
}

fn same(one: &Path, other: &Path) -> bool {
    std::fs::read(one).unwrap() == std::fs::read(other).unwrap()
}

fn inode(file: &Path) -> u64 {
    file.symlink_metadata().unwrap().ino()
}

fn answers(plugin: &Path) -> bool {
    let finished = run(Command::new(plugin).env_clear().env("CNI_COMMAND", "VERSION"), b"", DEADLINE);
    finished.code == Some(0) && finished.stdout.contains("supportedVersions")
}

fn conflist() -> Value {
    let ipam = json!({ "type": "host-local", "ranges": [[{ "subnet": "10.7.0.0/24" }]] });
    let bridge = json!({ "type": "bridge", "bridge": "br7", "isGateway": true, "ipam": ipam });
    json!({ "cniVersion": "1.0.0", "name": "seven", "plugins": [bridge] })
}

#[test]
fn every_plugin_is_a_name_of_one_file_and_a_second_time_changes_nothing() {
    let ground = Ground::new();
    ground.podlink("install", &[]).success();
    let file = ground.bin("podlink");
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o7777, 0o755);
    for name in NAMES {
        assert_eq!(inode(&ground.bin(name)), inode(&file), "{name}");
        assert!(answers(&ground.bin(name)), "{name}");
    }
    let before = inode(&file);
    let again = ground.podlink("install", &[]).success();
    assert_eq!(again.matches("is there already").count(), NAMES.len() + 1, "{again}");
    assert_eq!(inode(&file), before);
    // Also when it is installed from where it is installed.
    run(&mut ground.command(&file, "install", &[]), b"", DEADLINE).success();
    assert_eq!(inode(&file), before);

    ground.podlink("uninstall", &[]).success();
    assert_eq!(ground.names(), [""; 0]);
    ground.podlink("uninstall", &[]).success();
}

#[test]
fn what_others_had_there_is_kept_and_comes_back() {
    let ground = Ground::with_others();
    std::os::unix::fs::symlink("theirs", ground.bin("portmap")).unwrap();
    ground.podlink("install", &["--only", "bridge,portmap", "--only", "loopback"]).success();
    let names = [".podlink-replaced", "bridge", "loopback", "podlink", "portmap", "theirs"];
    assert_eq!(ground.names(), names);
    assert!(ground.is_ours(&ground.bin("bridge")) && !ground.bin("portmap").is_symlink());
    ground.podlink("install", &["--only", "bridge"]).success();
    ground.podlink("uninstall", &[]).success();
    assert_eq!(std::fs::read_link(ground.bin("portmap")).unwrap(), Path::new("theirs"));
    std::fs::remove_file(ground.bin("portmap")).unwrap();
    ground.is_as_before();
}

#[test]
fn a_plugin_that_is_running_is_upgraded_and_runs_on() {
    let ground = Ground::with_others();
    run(&mut ground.command(&ground.older(), "install", &[]), b"", DEADLINE).success();
    let older = inode(&ground.bin("bridge"));
    let mut command = Command::new(ground.bin("bridge"));
    command.env_clear().envs([("CNI_COMMAND", "STATUS"), ("CNI_PATH", "/nowhere")]);
    let mut running = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();

    ground.podlink("install", &[]).success();
    assert!(ground.is_ours(&ground.bin("bridge")) && inode(&ground.bin("bridge")) != older);
    running.stdin.take().unwrap().write_all(br#"{"cniVersion": "1.1.0"}"#).unwrap();
    let output = running.wait_with_output().unwrap();
    assert!(String::from_utf8(output.stdout).unwrap().contains("missing network name"));

    // The older podlink was no plugin of others.
    assert!(!ground.bin(".podlink-replaced/loopback").exists());
    ground.podlink("uninstall", &[]).success();
    ground.is_as_before();
}

#[test]
fn a_config_comes_last_is_checked_first_and_goes_unless_it_was_changed() {
    let ground = Ground::new();
    let mut broken = conflist();
    broken["plugins"][0]["ipam"]["ranges"] = json!([[{ "subnet": "10.7.0.1/24" }]]);
    let broken = ground.write_conf("broken.conflist", &broken);
    let refused = ground.podlink("install", &["--conf", &broken]);
    assert_eq!(refused.code, Some(1), "{refused}");
    assert!(refused.stdout.contains("10.7.0.1/24") && refused.stderr.contains("nothing was installed"), "{refused}");
    assert!(!ground.bin("").exists() && !ground.conf("").exists());

    let text = |path: PathBuf| std::fs::read_to_string(path).ok();
    std::fs::create_dir(ground.conf("")).unwrap();
    std::fs::write(ground.conf("7.conflist"), "theirs").unwrap();
    let seven = ground.write_conf("7.conflist", &conflist());
    let eight = ground.write_conf("8.conflist", &conflist());
    let install = ["--conf", &seven, "--conf", &eight];
    ground.podlink("install", &install).success();
    ground.podlink("install", &install).success();
    for name in ["7.conflist", "8.conflist"] {
        assert_eq!(text(ground.conf(name)), Some(conflist().to_string()));
        assert_eq!(ground.conf(name).metadata().unwrap().permissions().mode() & 0o7777, 0o644);
    }
    std::fs::write(ground.conf("8.conflist"), "changed").unwrap();
    let told = ground.podlink("uninstall", &[]).success();
    assert!(told.contains("8.conflist: changed since"), "{told}");
    assert_eq!(text(ground.conf("7.conflist")).as_deref(), Some("theirs"));
    assert_eq!(text(ground.conf("8.conflist")).as_deref(), Some("changed"));
    assert_eq!(std::fs::read_dir(ground.conf("")).unwrap().count(), 2);
}

/// Runs with a kill at the nth of these calls; false when there were fewer.
fn killed(command: &Command, call: &str, nth: usize) -> bool {
    strace(command, &format!("inject={call}:signal=KILL:when={nth}"), call).code.is_none()
}

fn strace(command: &Command, inject: &str, calls: &str) -> Finished {
    let mut traced = Command::new(need::tool("strace"));
    traced.args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={calls}"), "-e", inject]);
    traced.arg(command.get_program()).args(command.get_args());
    run(&mut traced, b"", DEADLINE)
}

/// The calls that change something. Killed between two of them it leaves the same as killed at the second.
const CHANGES: [&str; 9] =
    ["openat", "mkdir", "copy_file_range", "fchmod", "fsync", "linkat", "rename", "unlink", "rmdir"];

#[test]
fn killed_anywhere_each_file_is_old_or_new_and_again_repairs() {
    let ground = Ground::with_others();
    let conf = ground.write_conf("7.conflist", &conflist());
    let install = ["--only", "bridge,loopback", "--conf", &conf];
    let reference = BinDir::reference().plugin("bridge");
    let check = |place: &str| {
        let bridge = ground.bin("bridge");
        assert!(ground.is_ours(&bridge) || same(&bridge, &reference), "{place}: bridge is neither");
        let loopback = ground.bin("loopback");
        assert!(!loopback.exists() || ground.is_ours(&loopback), "{place}: loopback is there, but not whole");
        if let Ok(text) = std::fs::read_to_string(ground.conf("7.conflist")) {
            assert_eq!(text, conflist().to_string(), "{place}");
            assert!(ground.is_ours(&bridge) && ground.is_ours(&loopback), "{place}: a config without its plugins");
        }
    };
    let program = ground.program();
    let mut kills = 0;
    for call in CHANGES {
        for nth in 1.. {
            if !killed(&ground.command(&program, "install", &install), call, nth) {
                break;
            }
            kills += 1;
            let place = format!("install killed at {call} {nth}");
            check(&place);
            // Every other time it is not repaired, but taken back.
            if nth % 2 == 1 {
                ground.podlink("install", &install).success();
                assert!(ground.is_ours(&ground.bin("bridge")) && ground.is_ours(&ground.bin("loopback")), "{place}");
                assert!(!ground.names().contains(&".podlink-new".to_owned()), "{place}");
            }
            ground.podlink("uninstall", &[]).success();
            ground.is_as_before();
        }
        ground.podlink("install", &install).success();
        for nth in 1.. {
            if !killed(&ground.command(&program, "uninstall", &[]), call, nth) {
                break;
            }
            kills += 1;
            check(&format!("uninstall killed at {call} {nth}"));
            ground.podlink("uninstall", &[]).success();
            ground.is_as_before();
            ground.podlink("install", &install).success();
        }
        ground.podlink("uninstall", &[]).success();
        ground.is_as_before();
    }
    assert!(kills > 40, "only {kills} kills");
}

#[test]
fn a_file_system_without_hard_links_gets_copies() {
    let ground = Ground::with_others();
    let install = ground.command(&ground.program(), "install", &["--only", "bridge,loopback"]);
    let finished = strace(&install, "inject=linkat:error=EPERM", "linkat");
    assert_eq!(finished.code, Some(0), "{finished}");
    let [one, other] = ["bridge", "loopback"].map(|name| ground.bin(name));
    assert!(ground.is_ours(&one) && ground.is_ours(&other) && inode(&one) != inode(&other));
    assert!(answers(&one));
    ground.podlink("uninstall", &[]).success();
    ground.is_as_before();
}

#[test]
fn a_full_disk_changes_nothing_and_is_told() {
    let ground = Ground::with_others();
    let install = ground.command(&ground.program(), "install", &[]);
    let finished = strace(&install, "inject=copy_file_range:error=ENOSPC", "copy_file_range");
    assert_eq!(finished.code, Some(1), "{finished}");
    assert!(finished.stderr.contains("No space left"), "{finished}");
    assert!(same(&ground.bin("bridge"), &BinDir::reference().plugin("bridge")));
    assert!(!ground.bin(".podlink-new").exists() && !ground.bin("loopback").exists());
    ground.podlink("uninstall", &[]).success();
    ground.is_as_before();
}

#[test]
fn a_command_line_that_is_not_understood_is_2_and_helps() {
    let podlink = BinDir::ours().plugin("podlink");
    let run = |arguments: &[&str]| run(Command::new(&podlink).args(arguments), b"", DEADLINE);
    for (arguments, words) in [
        (&["instal"][..], "did you mean \"install\"?"),
        (&["install", "--only", "brigde"], "did you mean bridge"),
        (&["install", "--bindir", "/x"], "--bindir"),
        (&["install", "--conf", "/etc/hostname"], ".conflist"),
        (&["doctor"], "name a config"),
        (&["--what"], "--what"),
        (&[], "podlink install"),
    ] {
        let finished = run(arguments);
        assert!(finished.code == Some(2) && finished.stderr.contains(words), "{finished}");
    }
    for (arguments, words) in [
        (&["--help"][..], "podlink metrics"),
        (&["help", "doctor"], "--json"),
        (&["install", "--help"], "--bin-dir"),
        (&["--version"], "podlink 0."),
    ] {
        let finished = run(arguments);
        assert!(finished.code == Some(0) && finished.stdout.contains(words), "{finished}");
    }
}
