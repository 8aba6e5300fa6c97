//! What was found about one attachment, in the form that verdicts are made of.

use std::path::PathBuf;
use std::time::Duration;

use ipam::Boot;

use crate::verdict::{Judgement, Proof, Verdict};

/// A network namespace that has something, and the interface it has it on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Carrier {
    /// A path of the namespace.
    pub namespace: PathBuf,
    /// The interface in it.
    pub ifname: String,
}

/// All namespaces that could be looked into, as far as it matters to one attachment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scan {
    /// How many were read.
    pub read: usize,
    /// Whether every one that was found was read; else nothing can be said to be nowhere.
    pub complete: bool,
}

/// The node's end of the attachment's veth pair, where its name is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkState {
    /// It is there, and a namespace has its other end.
    Paired {
        /// Its name.
        name: String,
        /// Who has the other end.
        peer: Carrier,
    },
    /// It is there; no namespace that was read has its other end.
    Alone {
        /// Its name.
        name: String,
    },
    /// It is not there, though the network's pods get one.
    Gone {
        /// The name it would have.
        name: String,
    },
    /// Nothing is known: the name is another plugin's choice.
    Unknown,
}

/// What the runtime (libcni's cache) remembers of the attachment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecordState {
    /// No runtime on this node keeps records.
    NotKept,
    /// Others are kept, but not this one.
    Gone {
        /// Where it would be.
        file: PathBuf,
    },
    /// There is one, which names no namespace.
    WithoutNamespace,
    /// There is one, and its namespace is there.
    NamespaceThere {
        /// The namespace.
        path: PathBuf,
    },
    /// There is one, and its namespace is gone.
    NamespaceGone {
        /// Where the namespace was.
        path: PathBuf,
    },
}

/// What an address file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// A holder.
    Holder,
    /// Nothing that can be made out.
    Damaged,
    /// Something that no plugin wrote.
    Foreign,
}

/// Everything about a reserved address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfAddress {
    /// What the file says.
    pub content: Content,
    /// Under which boot it was written.
    pub boot: Boot,
    /// How long ago it was written; `None` where the clock has been set back since.
    pub age: Option<Duration>,
    /// A namespace that has the address.
    pub carrier: Option<Carrier>,
    /// How far `carrier: None` can be trusted.
    pub scan: Scan,
    /// The node's end of the holder's veth pair.
    pub link: LinkState,
    /// The runtime's memory of the holder.
    pub record: RecordState,
}

/// What an attachment has reserved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reserved {
    /// Its network's addresses are not files of this node.
    Unknown,
    /// Nothing.
    Nothing,
    /// Addresses, all of them dead.
    Dead(Vec<Proof>),
    /// An address that is not known to be dead.
    NotDead {
        /// The address.
        address: String,
        /// What was said about it.
        verdict: Verdict,
    },
}

impl Reserved {
    /// Adds one more address of the attachment.
    pub fn and(self, address: &str, judgement: &Judgement) -> Reserved {
        match (self, judgement.verdict) {
            (kept @ Reserved::NotDead { verdict: Verdict::Alive, .. }, _) => kept,
            (_, verdict @ Verdict::Alive) => Reserved::NotDead { address: address.to_owned(), verdict },
            (kept @ Reserved::NotDead { .. }, _) => kept,
            (_, Verdict::Unknown) => Reserved::NotDead { address: address.to_owned(), verdict: Verdict::Unknown },
            (_, Verdict::Dead) => Reserved::Dead(judgement.proofs.clone()),
        }
    }
}

/// Everything about an interface or rules on the node, beside addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfOther {
    /// The network.
    pub network: String,
    /// What the owner has reserved.
    pub reserved: Reserved,
    /// How far "nowhere" can be trusted.
    pub scan: Scan,
    /// The node's end of the owner's veth pair.
    pub link: LinkState,
    /// The runtime's memory of the owner.
    pub record: RecordState,
}
