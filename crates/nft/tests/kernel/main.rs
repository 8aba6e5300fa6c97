//! What the kernel makes of our transactions, in network namespaces of the tests' own; `nft` is the independent
//! observer. Needs root.

#![allow(clippy::unwrap_used)]

mod elements;
mod errors;
mod harness;
mod packets;
mod rules;

mod tables;
