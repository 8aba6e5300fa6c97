//! The tables of the older iptables, read from the kernel without its programs (linux/netfilter_ipv4/ip_tables.h, and
//! ip6_tables.h).
//!
//! A table is a row of entries: matches, and a target. Chains are marked by entries whose target is `ERROR`, with the
//! chain's name; the last entry of a kernel's chain is its policy.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use nix::libc;

use crate::Family;

/// `IPT_SO_GET_INFO`, `IP6T_SO_GET_INFO`.
const GET_INFO: libc::c_int = 64;
/// `IPT_SO_GET_ENTRIES`, `IP6T_SO_GET_ENTRIES`.
const GET_ENTRIES: libc::c_int = 65;
/// `XT_TABLE_MAXNAMELEN`: what both requests begin with.
const NAME: usize = 32;
/// `struct ipt_getinfo`: name, hooks, five entry points, five policies, number and bytes of entries.
const INFO: usize = NAME + 4 + 20 + 20 + 4 + 4;
const POLICIES: usize = NAME + 4 + 20;
const SIZE: usize = INFO - 4;
/// `NF_INET_FORWARD`.
const FORWARD: usize = 2;
/// `struct xt_entry_target`, before a target's own data; its name is behind two bytes of length.
const TARGET: usize = 32;
const TARGET_NAME: usize = 2;
/// The verdict of the policy DROP: `-NF_DROP - 1`.
const DROP: i32 = -1;
/// How often the table may change between asking for its size and for itself.
const ATTEMPTS: usize = 32;

/// A table as it was at one moment.
pub struct Table {
    family: Family,
    policies: [u8; 20],
    entries: Vec<u8>,
}

impl Table {
    /// Reads a table that is there; to ask for another makes it.
    ///
    /// # Errors
    /// The system's: mostly that the caller is not root.
    pub fn read(family: Family, name: &str) -> io::Result<Table> {
        let socket = raw_socket(family)?;
        let head = entries_offset();
        for _ in 0..ATTEMPTS {
            let mut info = vec![0; INFO];
            set_name(&mut info, name)?;
            get(&socket, family, GET_INFO, &mut info)?;
            let size = u32_at(&info, SIZE).unwrap_or(0);
            let mut table = vec![0; head + size as usize];
            set_name(&mut table, name)?;
            if let Some(field) = table.get_mut(NAME..NAME + 4) {
                field.copy_from_slice(&size.to_ne_bytes());
            }
            match get(&socket, family, GET_ENTRIES, &mut table) {
                Err(e) if e.raw_os_error() == Some(libc::EAGAIN) => continue,
                got => got?,
            }
            let policies = info.get(POLICIES..).and_then(|rest| rest.first_chunk()).copied().unwrap_or_default();
            return Ok(Table { family, policies, entries: table.split_off(head) });
        }
        Err(io::Error::other(format!("the table changed during each of {ATTEMPTS} attempts to read it")))
    }

    /// Whether there is a chain of this name, one that is not the kernel's.
    pub fn has_chain(&self, chain: &str) -> bool {
        let mut offset = 0;
        while let Some(length) = self.length(offset) {
            if self.target(offset, "ERROR").is_some_and(|name| text(name) == chain.as_bytes()) {
                return true;
            }
            offset += length;
        }
        false
    }

    /// Whether packets between interfaces that no rule is about are dropped.
    pub fn drops_forwarded(&self) -> bool {
        let policy = u32_at(&self.policies, FORWARD * 4).map(|offset| offset as usize);
        // The name of the standard target is empty.
        let verdict = policy.and_then(|policy| self.target(policy, "")).and_then(|data| u32_at(data, 0));
        verdict.is_some_and(|verdict| verdict.cast_signed() == DROP)
    }

    /// The length of the entry at `offset`; `None` at the end.
    fn length(&self, offset: usize) -> Option<usize> {
        let length = self.u16_at(offset + self.head() + 2).filter(|length| *length != 0)?;
        Some(length.into())
    }

    /// The data of the entry's target if it has this name.
    fn target(&self, offset: usize, name: &str) -> Option<&[u8]> {
        let start = offset + usize::from(self.u16_at(offset + self.head())?);
        let target = self.entries.get(start..offset + self.length(offset)?)?;
        (text(target.get(TARGET_NAME..TARGET)?) == name.as_bytes()).then(|| target.get(TARGET..)).flatten()
    }

    /// The offset in an entry of the offsets of its target and its end: behind `struct ipt_ip` or `ip6t_ip6`, and a word.
    fn head(&self) -> usize {
        match self.family {
            Family::V4 => 84 + 4,
            Family::V6 => 136 + 4,
        }
    }

    fn u16_at(&self, offset: usize) -> Option<u16> {
        self.entries.get(offset..)?.first_chunk().map(|bytes| u16::from_ne_bytes(*bytes))
    }
}

/// Where the entries are in `struct ipt_get_entries`: aligned as the counters in them are.
fn entries_offset() -> usize {
    (NAME + 4).next_multiple_of(align_of::<u64>())
}

fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    bytes.get(offset..)?.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
}

/// Up to the first zero.
fn text(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}

fn set_name(request: &mut [u8], name: &str) -> io::Result<()> {
    let field = request.get_mut(..name.len()).filter(|_| name.len() < NAME);
    field.ok_or(io::ErrorKind::InvalidInput)?.copy_from_slice(name.as_bytes());
    Ok(())
}

fn raw_socket(family: Family) -> io::Result<OwnedFd> {
    let domain = match family {
        Family::V4 => libc::AF_INET,
        Family::V6 => libc::AF_INET6,
    };
    // SAFETY: socket(2) takes three numbers and touches no memory of ours.
    let fd = unsafe { libc::socket(domain, libc::SOCK_RAW | libc::SOCK_CLOEXEC, libc::IPPROTO_RAW) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is open, as the line above has seen, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn get(socket: &OwnedFd, family: Family, option: libc::c_int, request: &mut [u8]) -> io::Result<()> {
    let level = match family {
        Family::V4 => libc::IPPROTO_IP,
        Family::V6 => libc::IPPROTO_IPV6,
    };
    let mut length = libc::socklen_t::try_from(request.len()).map_err(io::Error::other)?;
    // SAFETY: the kernel reads and writes at most `length` bytes at `request`, all of which are ours, initialised, and
    // borrowed for the call alone; any bytes are a value of theirs. `length` outlives the call, too.
    let failed =
        unsafe { libc::getsockopt(socket.as_raw_fd(), level, option, request.as_mut_ptr().cast(), &raw mut length) };
    if failed == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
