//! Address families and tables.

use std::{borrow::Cow, fmt};

/// Which packets a table sees (`NFPROTO_*` of linux/netfilter.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    /// IPv4 and IPv6 in one table.
    Inet,
    /// IPv4.
    Ip,
    /// IPv6.
    Ip6,
    /// Frames that cross a bridge.
    Bridge,
    /// Frames as one device receives or sends them.
    Netdev,
}

impl Family {
    /// Every family this crate knows.
    pub const ALL: [Family; 5] = [Family::Inet, Family::Ip, Family::Ip6, Family::Bridge, Family::Netdev];

    pub(crate) fn number(self) -> u8 {
        match self {
            Family::Inet => 1,
            Family::Ip => 2,
            Family::Netdev => 5,
            Family::Bridge => 7,
            Family::Ip6 => 10,
        }
    }

    pub(crate) fn from_number(number: u8) -> Option<Family> {
        Family::ALL.into_iter().find(|family| family.number() == number)
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Family::Inet => "inet",
            Family::Ip => "ip",
            Family::Ip6 => "ip6",
            Family::Bridge => "bridge",
            Family::Netdev => "netdev",
        })
    }
}

/// The name of a table: family and name together, shown as `nft` writes it (`inet podlink_masq`).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Table {
    /// The family the table belongs to; the same name may exist once in each.
    pub family: Family,
    /// At most 255 bytes (`NFT_NAME_MAXLEN`).
    pub name: Cow<'static, str>,
}

impl Table {
    /// A table whose name is known when the program is written: `const MASQ: Table = Table::new(Family::Inet, "masq");`.
    pub const fn new(family: Family, name: &'static str) -> Table {
        Table { family, name: Cow::Borrowed(name) }
    }

    /// A table whose name was read or computed.
    pub fn named(family: Family, name: impl Into<String>) -> Table {
        Table { family, name: Cow::Owned(name.into()) }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.family, self.name)
    }
}
