//! Between two cases: what the one leaves to the kernel should not be measured with the other.

use podlink_tests::Node;

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
