//! Rules through `iptables-restore`, for who asks for that backend, and removal of what the Go reference left there.
//!
//! Each change is one process per family, whatever the number of rules; reading is one, and none where the kernel knows
//! ([`Make::has_chain`]) that there is nothing to read.

mod legacy;
mod make;
mod names;
mod process;
mod ruleset;

use std::path::Path;

pub use make::Make;
pub use names::{chain_name, comment, owner};
pub use process::{Programs, installed, lock, restore, save};
pub use ruleset::{Line, Ruleset};

/// An address family, each with programs and tables of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// `iptables`.
    V4,
    /// `ip6tables`.
    V6,
}

impl Family {
    /// Both.
    pub const ALL: [Family; 2] = [Family::V4, Family::V6];

    /// The family of an address.
    pub fn of(address: std::net::IpAddr) -> Family {
        if address.is_ipv4() { Family::V4 } else { Family::V6 }
    }

    /// The name of a program, as in `ip6tables-save`.
    fn program(self, end: &str) -> String {
        let name = match self {
            Family::V4 => "iptables",
            Family::V6 => "ip6tables",
        };
        format!("{name}{end}")
    }

    fn nft_family(self) -> nft::Family {
        match self {
            Family::V4 => nft::Family::Ip,
            Family::V6 => nft::Family::Ip6,
        }
    }

    /// Lists the tables of the kernel's older iptables, of the reading thread's namespace.
    fn legacy_tables(self) -> &'static Path {
        Path::new(match self {
            Family::V4 => "/proc/thread-self/net/ip_tables_names",
            Family::V6 => "/proc/thread-self/net/ip6_tables_names",
        })
    }
}

/// What went wrong with iptables.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The program is not installed.
    #[error("{program} is not to be found in {path}; install iptables, or use the nftables backend")]
    Missing {
        /// The program that was looked for.
        program: String,
        /// Where.
        path: String,
    },
    /// The program could not be run or heard.
    #[error("{program} cannot be run: {source}")]
    Run {
        /// The program.
        program: String,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The program refused.
    #[error("{program} failed ({status}): {stderr}{}", if .script.is_empty() { String::new() } else { format!("; it was given {:?}", .script) })]
    Failed {
        /// The program.
        program: String,
        /// How it ended.
        status: std::process::ExitStatus,
        /// What it said.
        stderr: String,
        /// What it read.
        script: String,
    },
}

/// Whether there is a table called `table`, of whatever make. Asks the kernel, without a process.
pub fn may_have_table(family: Family, table: &str) -> bool {
    let mut nft = nft::Nft::open().ok();
    Make::ALL.into_iter().any(|make| make.has_table(nft.as_mut(), family, table))
}

/// Whether `chain` of `table` can exist, of whatever make. Asks the kernel, without a process, so that where nothing is left
/// nothing is run.
pub fn may_have_chain(family: Family, table: &str, chain: &str) -> bool {
    let mut nft = nft::Nft::open().ok();
    Make::ALL.into_iter().any(|make| make.has_chain(nft.as_mut(), family, table, chain))
}

/// How often another process may change the same rules between our reading and our change.
const ATTEMPTS: usize = 5;

/// Removes the rules that jump to `chain` of `table` and that `goes` is true for, and with the last of them the chain; of each
/// make that has it.
///
/// # Errors
/// iptables'.
pub fn remove_chain(family: Family, table: &str, chain: &str, goes: impl Fn(&Line) -> bool) -> Result<(), Error> {
    let mut nft = nft::Nft::open().ok();
    for make in Make::ALL {
        if make.has_chain(nft.as_mut(), family, table, chain) {
            remove_chain_of(Programs::Of(make), family, table, chain, &goes)?;
        }
    }
    Ok(())
}

fn remove_chain_of(
    programs: Programs,
    family: Family,
    table: &str,
    chain: &str,
    goes: &dyn Fn(&Line) -> bool,
) -> Result<(), Error> {
    let mut last = Ok(());
    for _ in 0..ATTEMPTS {
        let script = Ruleset::parse(&programs.save(family, table)?).removal(table, chain, goes);
        if script.is_empty() {
            return Ok(());
        }
        last = programs.restore(family, &script);
        if last.is_ok() {
            break;
        }
    }
    last
}
