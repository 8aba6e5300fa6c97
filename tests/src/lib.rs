//! The test ground: nodes and pods made of real namespaces, plugins started as a runtime starts them, and an observer
//! that asks the kernel through iproute2 rather than through podlink's own code.
//!
//! Everything here panics when it cannot do its work: it is called by tests, and a panic with a full account of what
//! was run and what came back is what a failing test should show. How to use it: README.md beside this crate.

pub mod attached;
pub mod bin_dir;
pub mod call;
pub mod cluster;
pub mod compare;
pub mod conf;
pub mod containerd;
pub mod cri;
pub mod events;
pub mod example;
pub mod files;
pub mod image;
pub mod jail;
pub mod killed;
pub mod namespace;
pub mod need;
pub mod node;
pub mod observe;
pub mod outside;
pub mod pod;
pub mod podman;
pub mod process;
pub mod scenario;
pub mod throughput;
pub mod tracer;
pub mod traffic;
pub mod uml;

pub use attached::Attached;
pub use bin_dir::BinDir;
pub use call::{Call, Output};
pub use namespace::Namespace;
pub use node::Node;
pub use outside::Outside;
pub use pod::{Pod, PodId};
