//! Who holds which address, interface and rule on this node, and whether the holder is alive.
//!
//! Facts and verdicts are apart: what is there is read by the modules below, what follows from it is decided in
//! `verdict.rs` without a look at the node.
//!
//! | file | what it knows |
//! | --- | --- |
//! | `network.rs` | which networks there are, and where their addresses are |
//! | `namespaces.rs`, `namespaces/paths.rs` | what all network namespaces have: addresses, far ends of veth pairs; where they are |
//! | `links.rs`, `rules.rs` | interfaces and rules on the node, and whose they are |
//! | `host_port.rs` | which ports of the node lead to a pod |
//! | `interfaces.rs` | the node's interfaces with addresses and far ends, for a picture |
//! | `records.rs` | what the container runtime remembers (libcni's cache) |
//! | `evidence.rs` | all of that about one attachment |
//! | `verdict.rs` | alive, dead or unknown, with proofs and signs of life |
//! | `survey.rs` | the whole node, in the order that makes ADDs under way visible |
//! | `ranges.rs` | how full the networks' ranges are |
//! | `collect.rs` | removing what is dead, checked once more under the network's lock |
//! | `by_hand.rs` | releasing what an operator names |

mod by_hand;
mod collect;
mod error;
mod evidence;
mod host_port;
mod interfaces;
mod links;
mod namespaces;
mod network;
mod ranges;
mod records;
mod rules;
mod survey;
mod verdict;

pub use by_hand::{Selector, release};
pub use collect::{Dead, Removal, RunDel, Thing, collect};
pub use error::Error;
pub use evidence::Carrier;
pub use host_port::HostPort;
pub use interfaces::{Interface, Limit, Peer};
pub use links::OwnedLink;
pub use network::{Network, Places, ReadPool};
pub use ranges::RangeUse;
pub use rules::OwnedRules;
pub use survey::{Held, Survey};
pub use verdict::{Judgement, LONGEST_ADD, Proof, Sign, Verdict};
