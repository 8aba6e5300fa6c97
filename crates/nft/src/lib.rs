//! Atomic nf_tables transactions over netlink, with no `nft` process.
//!
//! [`Nft`] is a socket into the calling thread's network namespace. A [`Transaction`] collects operations;
//! [`Nft::commit`] does all of them or none. Reads ([`Nft::element`], [`Nft::elements`], [`Nft::rules`], …) give plain
//! values, repeated where the rules changed meanwhile.
//!
//! | file | what it knows |
//! | --- | --- |
//! | `table.rs`, `chain.rs`, `set.rs`, `rule.rs` | the objects, as they are created and as they are read |
//! | `value.rs`, `selector.rs` | keys and values; what a rule can look at in a packet |
//! | `expr.rs`, `expr/` | the kernel's expressions: written, read back, shown |
//! | `transaction.rs`, `transaction/` | operations, what is wrong with them, their text and their bytes |
//! | `client.rs`, `client/` | the one path to the kernel: committing, reading, retries |
//! | `wire.rs` | netlink messages and attributes |
//!
//! Attributes are written and scanned by hand (`wire.rs`): netlink-packet-netfilter 0.4 knows six of the fifteen
//! expressions used here, not the `DESTROY` messages, and parses dumps too slowly.

mod chain;
mod client;
mod error;
mod expr;
mod rule;
mod selector;
mod set;
mod table;
mod transaction;
mod value;
mod wire;

pub use chain::{BaseChain, Chain, ChainType, Hook, Policy, priority};
pub use client::{ChainInfo, Nft, SetInfo};
pub use error::{Error, Missing, Refusal};
pub use expr::{Expr, Lookup, NatKind, Reg, describe, nat_flags};
pub use rule::{Rule, RuleInfo};
pub use selector::{Network, Selector, addr_type, ct_state, ct_status};
pub use set::{Data, Element, ElementInfo, MapType, RawData, Set, Verdict};
pub use table::{Family, Table};
pub use transaction::Transaction;
pub use value::{FieldType, Key, Value, proto};

/// The longest comment or owner, in bytes.
///
/// `NFT_USERDATA_MAXLEN` would leave 253, but the kernel counts an element's user data and its own byte in 8 bits: of
/// 252 it refuses the element, with 253 it forgets the owner without a word (seen on 6.18).
pub const MAX_COMMENT: usize = 250;

/// `NFTNL_UDATA_RULE_COMMENT`, `NFTNL_UDATA_SET_ELEM_COMMENT`, `NFTNL_UDATA_CHAIN_COMMENT`.
pub(crate) const UDATA_COMMENT: u8 = 0;
/// `NFTNL_UDATA_SET_COMMENT`.
pub(crate) const UDATA_SET_COMMENT: u8 = 7;
