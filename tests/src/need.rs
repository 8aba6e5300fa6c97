//! What a test needs from the machine. A need that is not met fails the test and says how to meet it; nothing is skipped.

use std::path::PathBuf;

/// Every outside program the tests start, and the Debian package that brings it.
pub const TOOLS: &[(&str, &str)] = &[
    ("bash", "bash"),
    ("bridge", "iproute2"),
    ("busybox", "busybox-static"),
    ("conmon", "conmon"),
    ("containerd", "containerd"),
    ("ctr", "containerd"),
    ("curl", "curl"),
    ("dbus-daemon", "dbus-daemon"),
    ("dnsmasq", "dnsmasq-base"),
    ("getent", "libc-bin"),
    ("ip", "iproute2"),
    ("ip6tables-restore", "iptables"),
    ("ip6tables-save", "iptables"),
    ("iptables", "iptables"),
    ("iptables-restore", "iptables"),
    ("iptables-save", "iptables"),
    ("linux.uml", "user-mode-linux"),
    ("modprobe", "kmod"),
    ("mount", "mount"),
    ("nft", "nftables"),
    ("nginx", "nginx-light"),
    ("nsenter", "util-linux"),
    ("openssl", "openssl"),
    ("ping", "iputils-ping"),
    ("podman", "podman"),
    ("runc", "runc"),
    ("setpriv", "util-linux"),
    ("sh", "dash"),
    ("strace", "strace"),
    ("strip", "binutils"),
    ("tc", "iproute2"),
    ("unshare", "util-linux"),
];

/// Panics unless the process may make namespaces and mounts: real root, or root of a user namespace.
pub fn root() {
    assert!(
        nix::unistd::geteuid().is_root(),
        "this test makes network and mount namespaces: run it as root, or under `unshare -Urnm`"
    );
}

/// Panics unless the process is root of the machine itself: container runtimes make cgroups and device nodes.
pub fn real_root() {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let whole_machine = map.split_whitespace().eq(["0", "0", "4294967295"]);
    assert!(
        nix::unistd::geteuid().is_root() && whole_machine,
        "this test runs a container runtime, which needs root of the machine, not of a user namespace"
    );
}

/// The path of the program `name`, looked up on PATH and in the sbin directories.
///
/// Panics with the Debian package to install when it is not there.
pub fn tool(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(PathBuf::from))
        .map(|dir| dir.join(name))
        .find(|file| file.is_file())
        .unwrap_or_else(|| match TOOLS.iter().find(|(tool, _)| *tool == name) {
            Some((_, package)) => {
                panic!("this test needs `{name}`, which is not on this machine: apt-get install {package}")
            }
            None => panic!("this test needs `{name}`, which is not on this machine"),
        })
}
