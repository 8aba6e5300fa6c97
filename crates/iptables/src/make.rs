//! The two makes of iptables: the older one with tables of its own in the kernel, and the one that keeps its rules in nf_tables.
//!
//! A node can have both, and both decide about a packet. What is there is asked of the kernel, without a process.

use std::path::Path;

use nft::{Nft, Policy, Table};

use crate::{Family, legacy};

/// A make of iptables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Make {
    /// `iptables-nft`: tables of the families ip and ip6 in nf_tables.
    Nft,
    /// `iptables-legacy`: the kernel's ip_tables and ip6_tables.
    Legacy,
}

/// The table and the chain that decide about packets between interfaces.
const FILTER: &str = "filter";
const FORWARD: &str = "FORWARD";

impl Make {
    /// Both.
    pub const ALL: [Make; 2] = [Make::Nft, Make::Legacy];

    /// The word in the names of its programs, as in `iptables-nft-save`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Make::Nft => "nft",
            Make::Legacy => "legacy",
        }
    }

    /// The make of a program, by the name of the file that it is in the end: `xtables-nft-multi`, `xtables-legacy-multi`, or
    /// `xtables-multi` from when there was one make. `None` for a script or anything else of somebody's own.
    pub(crate) fn of_program(program: &Path) -> Option<Make> {
        let file = program.canonicalize().ok()?;
        match file.file_name()?.to_str()? {
            name if name.contains("nft") => Some(Make::Nft),
            name if name.contains("legacy") || name == "xtables-multi" => Some(Make::Legacy),
            _ => None,
        }
    }

    /// Whether it has a table of this name. `nft` is `None` where the kernel has no nf_tables.
    pub fn has_table(self, nft: Option<&mut Nft>, family: Family, table: &str) -> bool {
        match self {
            Make::Nft => nft.is_some_and(|nft| nft.has_table(&nft_table(family, table)).unwrap_or(false)),
            Make::Legacy => is_legacy_table(family, table),
        }
    }

    /// Whether it has this chain, one that is not the kernel's own. True where that cannot be found out.
    pub fn has_chain(self, nft: Option<&mut Nft>, family: Family, table: &str, chain: &str) -> bool {
        match self {
            Make::Nft => {
                nft.is_some_and(|nft| nft.chain(&nft_table(family, table), chain).is_ok_and(|it| it.is_some()))
            }
            Make::Legacy => {
                let read = || legacy::Table::read(family, table).map_or(true, |table| table.has_chain(chain));
                is_legacy_table(family, table) && read()
            }
        }
    }

    /// Whether its FORWARD chain drops what no rule accepts.
    pub fn drops_forwarded(self, nft: Option<&mut Nft>, family: Family) -> bool {
        match self {
            Make::Nft => {
                let chain = nft.and_then(|nft| nft.chain(&nft_table(family, FILTER), FORWARD).ok().flatten());
                chain.and_then(|chain| chain.base).is_some_and(|base| base.policy == Policy::Drop)
            }
            Make::Legacy => {
                let read = || legacy::Table::read(family, FILTER).is_ok_and(|table| table.drops_forwarded());
                is_legacy_table(family, FILTER) && read()
            }
        }
    }
}

fn nft_table(family: Family, table: &str) -> Table {
    Table::named(family.nft_family(), table)
}

fn is_legacy_table(family: Family, table: &str) -> bool {
    let names = std::fs::read_to_string(family.legacy_tables());
    names.is_ok_and(|names| names.lines().any(|name| name == table))
}
