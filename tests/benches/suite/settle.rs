//! Between two calls or cases: what the one leaves to the kernel should not be measured with the other.

use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::wait::waitpid;
use podlink_tests::Node;

/// Whether the processes that a call leaves behind are given to this one.
pub fn adopt(yes: bool) -> Result<(), String> {
    prctl::set_child_subreaper(yes).map_err(|e| format!("becoming the parent of what calls leave behind: {e}"))
}

/// Waits for them: they wait for the kernel. There are no other children then.
pub fn leftovers() {
    while waitpid(None, None) != Err(Errno::ECHILD) {}
}

/// Drops a case's nodes and pods and waits until the kernel has taken their network namespaces away.
pub fn after<T>(things: T) {
    drop(things);
    // The kernel takes namespaces away one after the other, in the order they were dropped: the last one's link tells.
    let node = Node::new();
    let last = node.pod("last");
    node.sh(&["ip", "link", "add", "last0", "type", "veth", "peer", "name", "eth0", "netns", "last"]);
    drop(last);
    node.wait_until("the namespaces of the case before are gone", |node| node.link("last0").is_none());
}
