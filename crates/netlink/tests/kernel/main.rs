//! The crate against the running kernel. Needs root. Every test makes its own anonymous network namespaces, which
//! end with the descriptors that hold them, so that nothing can be left behind.

// clippy.toml allows this in test functions; here the helpers are tests as well.
#![allow(clippy::unwrap_used)]

mod addresses;
mod bridges;
mod changes;
mod churn;
mod harness;
mod namespaces;
mod qdiscs;
mod routes;
mod sysctls;
mod veths;
mod vlans;
mod waits;
