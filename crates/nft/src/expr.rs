//! Expressions: what a rule is made of in the kernel, one operation on its registers each.
//!
//! [`Rule`](crate::Rule) writes them; they are public so that a rule read from the kernel can be compared and shown.

mod decode;
mod encode;
mod text;

pub(crate) use decode::{decode, verdict};
pub(crate) use encode::{encode, verdict as encode_verdict};
pub use text::describe;

use crate::{
    selector::{Network, Selector},
    set::Verdict,
};

/// One of the sixteen 4-byte registers, by index (`NFT_REG32_00` is 0). A longer value takes those that follow too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Reg(pub u8);

impl Reg {
    /// The number in messages. The kernel reports every fourth by its older name (`NFT_REG_1` …), so that is what is
    /// sent too.
    pub(crate) fn number(self) -> u32 {
        let index = u32::from(self.0);
        if index.is_multiple_of(4) { 1 + index / 4 } else { 8 + index }
    }

    pub(crate) fn from_number(number: u32) -> Option<Reg> {
        match number {
            1..=4 => u8::try_from((number - 1) * 4).ok().map(Reg),
            8..=23 => u8::try_from(number - 8).ok().map(Reg),
            _ => None,
        }
    }
}

/// What a look-up does with what it finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lookup {
    /// The rule goes on if the key is in the set.
    Member,
    /// The rule goes on if the key is not in the set.
    NotMember,
    /// The verdict of the element is taken (verdict map).
    Verdict,
    /// The element's data goes into a register (value map).
    Into(Reg),
}

/// Source or destination translation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NatKind {
    /// `NFT_NAT_SNAT`.
    Source,
    /// `NFT_NAT_DNAT`.
    Destination,
}

/// Flags of translations (`NF_NAT_RANGE_*` of linux/netfilter/nf_nat.h).
pub mod nat_flags {
    /// None.
    pub const NONE: u32 = 0;
    /// `random`: the source port is hashed.
    pub const RANDOM: u32 = 4;
    /// `persistent`: a client gets the same address each time.
    pub const PERSISTENT: u32 = 8;
    /// `fully-random`: the source port is drawn.
    pub const FULLY_RANDOM: u32 = 16;
}

/// One operation.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Expr {
    /// Reads a property of the packet into a register (`payload`, `meta`, `ct`, `fib`).
    Load {
        /// Which property.
        selector: Selector,
        /// Where to.
        dreg: Reg,
    },
    /// Writes a register into [`Selector::Mark`], [`Selector::CtMark`] or [`Selector::PktType`].
    Store {
        /// Which property.
        selector: Selector,
        /// Where from.
        sreg: Reg,
    },
    /// Goes on if the register holds (or does not hold) this value.
    Cmp {
        /// The register.
        sreg: Reg,
        /// False for `!=`.
        equal: bool,
        /// The bytes compared.
        value: Vec<u8>,
    },
    /// `(register & mask) ^ xor`.
    Bitwise {
        /// Where from.
        sreg: Reg,
        /// Where to.
        dreg: Reg,
        /// Bits that stay.
        mask: Vec<u8>,
        /// Bits that flip, as long as the mask.
        xor: Vec<u8>,
    },
    /// Looks a register up in a set or map.
    Lookup {
        /// Its name.
        set: String,
        /// The first register of the key.
        sreg: Reg,
        /// What becomes of the answer.
        kind: Lookup,
    },
    /// Puts a constant into a register.
    Immediate {
        /// Where to.
        dreg: Reg,
        /// The constant.
        value: Vec<u8>,
    },
    /// Decides.
    Verdict(Verdict),
    /// Translates to an address, and perhaps a port, from registers.
    Nat {
        /// Of the source or of the destination.
        kind: NatKind,
        /// Of which protocol the address is.
        network: Network,
        /// Holds the address.
        address: Option<Reg>,
        /// Holds the port, in network order.
        port: Option<Reg>,
        /// [`nat_flags`].
        flags: u32,
    },
    /// Source translation to the address of the outgoing interface.
    Masquerade {
        /// [`nat_flags`].
        flags: u32,
    },
    /// Destination translation to this host.
    Redirect {
        /// Holds the port, in network order.
        port: Option<Reg>,
        /// [`nat_flags`].
        flags: u32,
    },
    /// Drops and tells the sender.
    Reject {
        /// `NFT_REJECT_*`: 0 ICMP of the packet's protocol, 1 TCP reset, 2 ICMP chosen by the protocol.
        kind: u32,
        /// The ICMP code.
        code: u8,
    },
    /// Counts packets and bytes; the counts are no part of the comparison.
    Counter,
    /// Something this crate does not write: never equal to what [`Rule`](crate::Rule) makes.
    Other {
        /// The kernel's name of it.
        name: String,
        /// Its attributes.
        data: Vec<u8>,
    },
}
