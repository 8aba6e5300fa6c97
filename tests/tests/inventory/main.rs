//! `podlink ipam`, `leaks`, `gc` and `metrics` on nodes where pods live, die, and are killed halfway.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod dead;
mod living;
mod reports;
mod site;
mod storm;
