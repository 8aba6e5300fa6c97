//! What follows from the evidence: alive, dead or unknown. Nothing here looks at the node.
//!
//! Dead takes two proofs that were looked up in different places, and nothing that speaks against it. To be wrong about
//! dead gives two pods one address; to be wrong about unknown costs an address until somebody looks.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use ipam::Boot;
use serde::{Serialize, Serializer};

use crate::evidence::{Carrier, Content, LinkState, OfAddress, OfOther, RecordState, Reserved, Scan};

/// How long an ADD may take that reserves the address first and makes the interface later. Runtimes give up after two
/// to four minutes.
pub const LONGEST_ADD: Duration = Duration::from_secs(300);

/// What is said about an address, interface or rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Somebody uses it.
    Alive,
    /// Its owner is gone, by at least two proofs.
    Dead,
    /// Neither is known. It is listed and never removed.
    Unknown,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Verdict::Alive => "alive",
            Verdict::Dead => "dead",
            Verdict::Unknown => "unknown",
        })
    }
}

/// One observation that its owner is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proof {
    /// The address file says nothing.
    Damaged,
    /// It was reserved before this boot.
    EarlierBoot,
    /// No namespace has the address.
    AddressNowhere {
        /// How many were looked into.
        namespaces: usize,
    },
    /// The node's end of the pair is gone.
    LinkGone {
        /// Its name.
        name: String,
    },
    /// The node's end is there; no namespace has the other one.
    PeerNowhere {
        /// The name of the node's end.
        name: String,
        /// How many were looked into.
        namespaces: usize,
    },
    /// The namespace that the runtime recorded is gone.
    NamespaceGone {
        /// Where it was.
        path: PathBuf,
    },
    /// The runtime has no record of the attachment.
    RecordGone {
        /// Where it would be.
        file: PathBuf,
    },
    /// The attachment has no address in the network, whose pods have one.
    NoReservation {
        /// The network.
        network: String,
    },
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Proof::Damaged => f.write_str("the address file is empty or damaged"),
            Proof::EarlierBoot => f.write_str("it was reserved before this boot"),
            Proof::AddressNowhere { namespaces } => {
                write!(f, "no network namespace has the address ({namespaces} looked into)")
            }
            Proof::LinkGone { name } => write!(f, "the interface {name} on the node is gone"),
            Proof::PeerNowhere { name, namespaces } => {
                write!(f, "no network namespace has the other end of {name} ({namespaces} looked into)")
            }
            Proof::NamespaceGone { path } => write!(f, "the namespace {} is gone", path.display()),
            Proof::RecordGone { file } => write!(f, "the runtime has no record {}", file.display()),
            Proof::NoReservation { network } => write!(f, "it has no address in network {network}"),
        }
    }
}

/// One observation that its owner lives, or may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sign {
    /// A namespace has the address.
    Carried(Carrier),
    /// Both ends of the pair are there.
    Paired {
        /// The node's end.
        name: String,
        /// The other one.
        peer: Carrier,
    },
    /// It has an address that is alive, or may be.
    Reserved {
        /// The address.
        address: String,
        /// What is said about it.
        verdict: Verdict,
    },
    /// The node's end of the pair is there.
    LinkThere {
        /// Its name.
        name: String,
    },
    /// The namespace that the runtime recorded is there.
    NamespaceThere {
        /// The namespace.
        path: PathBuf,
    },
    /// It is so young that its ADD may still run; `None` where its age is not known.
    Young {
        /// Its age.
        age: Option<Duration>,
    },
    /// No plugin wrote the file: somebody keeps the address for another purpose.
    Foreign,
    /// Its ADD may be under way: nothing shows that it has ever been finished.
    MayBeginOnly,
}

impl Sign {
    fn is_life(&self) -> bool {
        match self {
            Sign::Carried(_) | Sign::Paired { .. } => true,
            Sign::Reserved { verdict, .. } => *verdict == Verdict::Alive,
            _ => false,
        }
    }
}

impl fmt::Display for Sign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Sign::Carried(Carrier { namespace, ifname }) => {
                write!(f, "{ifname} in {} has the address", namespace.display())
            }
            Sign::Paired { name, peer } => {
                write!(f, "{name} on the node leads to {} in {}", peer.ifname, peer.namespace.display())
            }
            Sign::Reserved { address, verdict: Verdict::Alive } => write!(f, "its address {address} is in use"),
            Sign::Reserved { address, .. } => write!(f, "its address {address} may be in use"),
            Sign::LinkThere { name } => write!(f, "the interface {name} on the node is there"),
            Sign::NamespaceThere { path } => write!(f, "the namespace {} is there", path.display()),
            Sign::Young { age: Some(age) } => {
                write!(f, "reserved {} s ago: its ADD may still be running", age.as_secs())
            }
            Sign::Young { age: None } => f.write_str("reserved at a time to come: its ADD may still be running"),
            Sign::Foreign => f.write_str("no CNI plugin wrote the file: somebody keeps the address"),
            Sign::MayBeginOnly => f.write_str("its ADD may still be running"),
        }
    }
}

/// A verdict with all that it stands on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// The verdict.
    pub verdict: Verdict,
    /// What shows that the owner is gone.
    pub proofs: Vec<Proof>,
    /// What shows that the owner is there, or may be.
    pub signs: Vec<Sign>,
}

impl Judgement {
    fn new(proofs: Vec<Proof>, signs: Vec<Sign>) -> Judgement {
        let verdict = if signs.iter().any(Sign::is_life) {
            Verdict::Alive
        } else if signs.is_empty() && proofs.len() >= 2 {
            Verdict::Dead
        } else {
            Verdict::Unknown
        };
        Judgement { verdict, proofs, signs }
    }

    /// The evidence in words, what counts first.
    pub fn evidence(&self) -> Vec<String> {
        let proofs = self.proofs.iter().map(ToString::to_string);
        match self.verdict {
            Verdict::Alive => self.signs.iter().filter(|sign| sign.is_life()).map(ToString::to_string).collect(),
            _ => self.signs.iter().map(ToString::to_string).chain(proofs).collect(),
        }
    }
}

impl Serialize for Judgement {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let mut fields = serializer.serialize_struct("Judgement", 2)?;
        fields.serialize_field("verdict", &self.verdict)?;
        fields.serialize_field("evidence", &self.evidence())?;
        fields.end()
    }
}

/// Judges a reserved address.
pub fn address(of: &OfAddress) -> Judgement {
    let (mut proofs, mut signs) = (Vec::new(), Vec::new());
    match (&of.carrier, of.scan.complete) {
        (Some(carrier), _) => signs.push(Sign::Carried(carrier.clone())),
        (None, true) => proofs.push(Proof::AddressNowhere { namespaces: of.scan.read }),
        (None, false) => {}
    }
    match of.content {
        Content::Holder => {}
        Content::Damaged => proofs.push(Proof::Damaged),
        Content::Foreign => signs.push(Sign::Foreign),
    }
    if of.boot == Boot::Earlier {
        proofs.push(Proof::EarlierBoot);
    }
    // podlink's bridge makes the pair before it asks for an address, but that it was podlink's is not recorded: its
    // host-local works below other plugins, too. A record may be of an earlier ADD of the same container.
    let is_old = of.age.is_some_and(|age| age >= LONGEST_ADD);
    if !is_old && of.boot != Boot::Earlier && of.content != Content::Foreign {
        signs.push(Sign::Young { age: of.age });
    }
    let made_by_podlink = of.boot != Boot::Unknown;
    link(&of.link, &of.record, of.scan, made_by_podlink, &mut proofs, &mut signs);
    record(&of.record, of.scan, &mut proofs, &mut signs);
    Judgement::new(proofs, signs)
}

/// Judges an interface or rules that name an owner. Nothing tells their age: what an ADD that is under way would look
/// like is unknown, not dead.
pub fn other(of: &OfOther) -> Judgement {
    let (mut proofs, mut signs) = (Vec::new(), Vec::new());
    let mut is_complete = matches!(of.record, RecordState::NamespaceGone { .. });
    link(&of.link, &of.record, of.scan, true, &mut proofs, &mut signs);
    match &of.reserved {
        Reserved::Unknown => {}
        // Rules and ifb devices are made after the address is reserved, and removed before it is released. The pair is
        // made before, so of a pair that is there this says nothing.
        Reserved::Nothing if matches!(of.link, LinkState::Gone { .. } | LinkState::Unknown) => {
            is_complete = true;
            proofs.push(Proof::NoReservation { network: of.network.clone() });
        }
        Reserved::Nothing => {}
        Reserved::Dead(of_address) => {
            is_complete = true;
            proofs.extend(
                of_address
                    .iter()
                    .filter(|proof| matches!(proof, Proof::AddressNowhere { .. } | Proof::EarlierBoot))
                    .cloned(),
            );
        }
        Reserved::NotDead { address, verdict } => {
            signs.push(Sign::Reserved { address: address.clone(), verdict: *verdict });
        }
    }
    record(&of.record, of.scan, &mut proofs, &mut signs);
    if !is_complete && signs.is_empty() {
        signs.push(Sign::MayBeginOnly);
    }
    Judgement::new(proofs, signs)
}

fn link(
    state: &LinkState,
    record: &RecordState,
    scan: Scan,
    counts_when_gone: bool,
    proofs: &mut Vec<Proof>,
    signs: &mut Vec<Sign>,
) {
    match state {
        LinkState::Paired { name, peer } => signs.push(Sign::Paired { name: name.clone(), peer: peer.clone() }),
        // A namespace may be kept open with no path and no process. When the path it had is gone, too, nobody comes back
        // to it.
        LinkState::Alone { name } if scan.complete && matches!(record, RecordState::NamespaceGone { .. }) => {
            proofs.push(Proof::PeerNowhere { name: name.clone(), namespaces: scan.read });
        }
        LinkState::Alone { name } => signs.push(Sign::LinkThere { name: name.clone() }),
        LinkState::Gone { name } if counts_when_gone => proofs.push(Proof::LinkGone { name: name.clone() }),
        LinkState::Gone { .. } | LinkState::Unknown => {}
    }
}

fn record(state: &RecordState, scan: Scan, proofs: &mut Vec<Proof>, signs: &mut Vec<Sign>) {
    match state {
        RecordState::Gone { file } => proofs.push(Proof::RecordGone { file: file.clone() }),
        // Who does not see all namespaces may not see the paths of all, either.
        RecordState::NamespaceGone { path } if scan.complete => {
            proofs.push(Proof::NamespaceGone { path: path.clone() });
        }
        RecordState::NamespaceGone { .. } => {}
        RecordState::NamespaceThere { path } => signs.push(Sign::NamespaceThere { path: path.clone() }),
        RecordState::NotKept | RecordState::WithoutNamespace => {}
    }
}

#[cfg(test)]
mod tests;
