//! podlink on a cluster's node, as far as it can be had without a cluster: containerd's templates with the node's pod CIDRs, the
//! install step in a container, and the manifests.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod install;
mod manifest;
mod template;
