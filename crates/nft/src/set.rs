//! Sets and maps, and what is in them.

use std::fmt;

use crate::value::{FieldType, Key};

/// What a rule, or an element of a verdict map, does with a packet.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// The packet passes this base chain.
    Accept,
    /// The packet is gone.
    Drop,
    /// Back to the calling chain; in a base chain: its policy.
    Return,
    /// On with the next rule.
    Continue,
    /// Into a chain of the same table, and back at its end.
    Jump(String),
    /// Into a chain of the same table, without coming back.
    Goto(String),
}

impl Verdict {
    /// `NF_*` and `NFT_*` of linux/netfilter.h and nf_tables.h.
    pub(crate) fn code(&self) -> i32 {
        match self {
            Verdict::Drop => 0,
            Verdict::Accept => 1,
            Verdict::Continue => -1,
            Verdict::Jump(_) => -3,
            Verdict::Goto(_) => -4,
            Verdict::Return => -5,
        }
    }

    pub(crate) fn from_code(code: i32, chain: Option<String>) -> Option<Verdict> {
        match code {
            0 => Some(Verdict::Drop),
            1 => Some(Verdict::Accept),
            -1 => Some(Verdict::Continue),
            -3 => chain.map(Verdict::Jump),
            -4 => chain.map(Verdict::Goto),
            -5 => Some(Verdict::Return),
            _ => None,
        }
    }

    pub(crate) fn chain(&self) -> Option<&str> {
        match self {
            Verdict::Jump(chain) | Verdict::Goto(chain) => Some(chain),
            _ => None,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Accept => f.write_str("accept"),
            Verdict::Drop => f.write_str("drop"),
            Verdict::Return => f.write_str("return"),
            Verdict::Continue => f.write_str("continue"),
            Verdict::Jump(chain) => write!(f, "jump {chain}"),
            Verdict::Goto(chain) => write!(f, "goto {chain}"),
        }
    }
}

/// What a map maps to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum MapType {
    /// Verdicts ([`Element::verdict`]).
    Verdict,
    /// Values ([`Element::value`]), one field or a concatenation.
    Fields(Vec<FieldType>),
}

/// A set or map to create.
///
/// Without [`Set::interval`] the kernel keeps it as a hash: look-up, add and delete cost the same at any size.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Set {
    /// At most 255 bytes.
    pub name: String,
    /// The key's fields; more than one is a concatenation. At most 64 bytes together.
    pub key: Vec<FieldType>,
    /// Present for a map.
    pub data: Option<MapType>,
    /// Whether elements may be ranges and prefixes.
    pub interval: bool,
    /// Shown by `nft list` (`NFTNL_UDATA_SET_COMMENT`); at most [`MAX_COMMENT`](crate::MAX_COMMENT) bytes.
    pub comment: Option<String>,
}

impl Set {
    /// A hash set: `Set::new("pods4", [FieldType::Ipv4Addr])`.
    pub fn new(name: impl Into<String>, key: impl Into<Vec<FieldType>>) -> Set {
        Set { name: name.into(), key: key.into(), data: None, interval: false, comment: None }
    }

    /// Makes it a map from keys to verdicts.
    pub fn to_verdicts(mut self) -> Set {
        self.data = Some(MapType::Verdict);
        self
    }

    /// Makes it a map from keys to values: `[FieldType::Ipv4Addr, FieldType::InetService]` for dnat.
    pub fn to_values(mut self, data: impl Into<Vec<FieldType>>) -> Set {
        self.data = Some(MapType::Fields(data.into()));
        self
    }

    /// Lets elements be ranges ([`Element::to`]). The kernel then keeps a tree: adding and deleting cost grows with
    /// the number of elements.
    pub fn interval(mut self) -> Set {
        self.interval = true;
        self
    }

    /// Sets the comment, which only a new set takes over.
    pub fn comment(mut self, comment: impl Into<String>) -> Set {
        self.comment = Some(comment.into());
        self
    }

    pub(crate) fn word(&self) -> &'static str {
        if self.data.is_some() { "map" } else { "set" }
    }
}

pub(crate) fn concatenated(types: &[FieldType]) -> String {
    types.iter().map(FieldType::to_string).collect::<Vec<_>>().join(" . ")
}

/// As in `nft add map`: `ports { type inet_proto . inet_service : ipv4_addr . inet_service; }`.
impl fmt::Display for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {{ type {}", self.name, concatenated(&self.key))?;
        match &self.data {
            None => {}
            Some(MapType::Verdict) => f.write_str(" : verdict")?,
            Some(MapType::Fields(types)) => write!(f, " : {}", concatenated(types))?,
        }
        f.write_str(";")?;
        if self.interval {
            f.write_str(" flags interval;")?;
        }
        if let Some(comment) = &self.comment {
            write!(f, " comment \"{comment}\";")?;
        }
        f.write_str(" }")
    }
}

/// What an element of a map holds.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Data {
    /// Of a value map.
    Value(Key),
    /// Of a verdict map.
    Verdict(Verdict),
}

/// An element to add to, or delete from, a set or map.
///
/// Deleting looks at the key only.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Element {
    /// The key, of the set's types.
    pub key: Key,
    /// In an interval set: the last key of the range, included.
    pub to: Option<Key>,
    /// In a map: what the key maps to.
    pub data: Option<Data>,
    /// Who the element belongs to (`network/container ID/ifname`): kept by the kernel with the element, shown by
    /// `nft list` as its comment, read back in [`ElementInfo::owner`]. At most
    /// [`MAX_COMMENT`](crate::MAX_COMMENT) bytes.
    pub owner: Option<String>,
}

impl Element {
    /// An element that is only a key.
    pub fn new(key: impl Into<Key>) -> Element {
        Element { key: key.into(), to: None, data: None, owner: None }
    }

    /// Makes it the range from the key to this one, both included.
    pub fn to(mut self, last: impl Into<Key>) -> Element {
        self.to = Some(last.into());
        self
    }

    /// What the key maps to, in a verdict map.
    pub fn verdict(mut self, verdict: Verdict) -> Element {
        self.data = Some(Data::Verdict(verdict));
        self
    }

    /// What the key maps to, in a value map.
    pub fn value(mut self, value: impl Into<Key>) -> Element {
        self.data = Some(Data::Value(value.into()));
        self
    }

    /// Who it belongs to.
    pub fn owner(mut self, owner: impl Into<String>) -> Element {
        self.owner = Some(owner.into());
        self
    }
}

/// As in `nft add element`: `10.1.2.3 comment "net/c1/eth0" : jump snat`.
impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.key)?;
        if let Some(last) = &self.to {
            write!(f, "-{last}")?;
        }
        if let Some(owner) = &self.owner {
            write!(f, " comment \"{owner}\"")?;
        }
        match &self.data {
            None => Ok(()),
            Some(Data::Value(value)) => write!(f, " : {value}"),
            Some(Data::Verdict(verdict)) => write!(f, " : {verdict}"),
        }
    }
}

/// What an element of a map holds, as the kernel tells it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum RawData {
    /// Of a value map: compare with [`Key::to_bytes`], or read with [`Key::from_bytes`].
    Value(Vec<u8>),
    /// Of a verdict map.
    Verdict(Verdict),
}

/// An element as the kernel tells it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ElementInfo {
    /// The key: compare with [`Key::to_bytes`], or read with [`Key::from_bytes`].
    pub key: Vec<u8>,
    /// The last key of a range in a set of concatenations.
    pub to: Option<Vec<u8>>,
    /// In an interval set: this is not an element but the first key after the range before it.
    pub interval_end: bool,
    /// In a map: what the key maps to.
    pub data: Option<RawData>,
    /// Who it belongs to ([`Element::owner`]).
    pub owner: Option<String>,
}

impl ElementInfo {
    /// Whether this is the element that adding `element` makes (key, data and owner). Not for ranges.
    pub fn is(&self, element: &Element) -> bool {
        let data = match (&self.data, &element.data) {
            (None, None) => true,
            (Some(RawData::Value(bytes)), Some(Data::Value(value))) => *bytes == value.to_bytes(),
            (Some(RawData::Verdict(found)), Some(Data::Verdict(expected))) => found == expected,
            _ => false,
        };
        data && self.key == element.key.to_bytes() && self.owner == element.owner
    }
}
