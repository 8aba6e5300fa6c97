//! One network namespace's kernel state behind typed, blocking calls.
//!
//! [`Namespace`] is an open network namespace, [`Netlink`] a socket bound to one: every method of it is one
//! question to, or one change of, the kernel there. [`Sysctl`] acts on the calling thread's
//! namespace; [`Namespace::run`] takes it to another.
//!
//! | file | what it knows |
//! | --- | --- |
//! | `namespace.rs`, `nsid.rs` | opening and entering namespaces; the numbers they have for each other |
//! | `client.rs` | the one path to the kernel: requests, dumps, their retries and errors |
//! | `subscription.rs` | the kernel's events |
//! | `packet.rs` | raw messages and attributes |
//! | `link.rs`, `link/` | interfaces: reading, creating, changing, deleting |
//! | `address.rs`, `route.rs`, `way.rs`, `vlan.rs` | addresses, routes and which one is taken, VLANs of bridge ports |
//! | `qdisc.rs`, `qdisc/` | traffic control: queueing disciplines, HTB classes, u32 filters |
//! | `wait.rs` | waiting for the kernel's own events |
//! | `sysctl.rs` | what has no netlink message: `/proc/sys/net` |

mod address;
mod client;
mod error;
#[cfg(feature = "fuzzing")]
pub mod fuzz;
mod link;
mod mac;
mod namespace;
mod nsid;
mod packet;
mod qdisc;
mod route;
mod subscription;
mod sysctl;
mod vlan;
mod wait;
mod way;

pub use address::{Address, NewAddress};
pub use client::Netlink;
pub use error::{Error, Refusal};
pub use link::{
    AddrGenMode, BridgePort, Link, LinkChange, LinkKind, LinkRef, NewBridge, NewIfb, NewVeth, OperState, PortChange,
    PortState, VethHost, VethPeer,
};
pub use mac::{MacAddr, ParseMacError};
pub use namespace::Namespace;
pub use qdisc::{Filter, Handle, HtbClass, Qdisc, Rate, Side, SubnetFilter};
pub use route::{Family, Route};
pub use sysctl::{Setting, Sysctl};
pub use vlan::PortVlan;
pub use way::Way;
