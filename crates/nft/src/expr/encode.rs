//! Expressions as attributes (`NFTA_EXPR_NAME`, `NFTA_EXPR_DATA`).

use super::{Expr, Lookup, NatKind, Reg};
use crate::{
    selector::{Selector, Source},
    set::Verdict,
    wire::{Writer, attr},
};

/// `NFT_REG_VERDICT`.
const VERDICT_REGISTER: u32 = 0;
/// `NFT_LOOKUP_F_INV`.
const LOOKUP_INVERT: u32 = 1;
/// `NFT_FIB_RESULT_ADDRTYPE`.
const FIB_ADDRTYPE: u32 = 3;

fn expression(out: &mut Writer, name: &str, body: impl FnOnce(&mut Writer)) {
    out.string(attr::EXPR_NAME, name);
    out.nest(attr::EXPR_DATA, body);
}

/// A verdict inside `NFTA_SET_ELEM_DATA` or `NFTA_IMMEDIATE_DATA`.
pub(crate) fn verdict(out: &mut Writer, verdict: &Verdict) {
    out.nest(attr::DATA_VERDICT, |out| {
        out.u32(attr::VERDICT_CODE, verdict.code().cast_unsigned());
        if let Some(chain) = verdict.chain() {
            out.string(attr::VERDICT_CHAIN, chain);
        }
    });
}

fn value(out: &mut Writer, kind: u16, bytes: &[u8]) {
    out.nest(kind, |out| out.bytes(attr::DATA_VALUE, bytes));
}

fn flags(out: &mut Writer, kind: u16, flags: u32) {
    if flags != 0 {
        out.u32(kind, flags);
    }
}

fn register(out: &mut Writer, kind: u16, register: Option<Reg>) {
    if let Some(register) = register {
        out.u32(kind, register.number());
    }
}

fn load(out: &mut Writer, selector: Selector, dreg: Reg) {
    match selector.source() {
        Source::Payload(base, offset, length) => expression(out, "payload", |out| {
            out.u32(1, dreg.number());
            out.u32(2, base);
            out.u32(3, offset);
            out.u32(4, length);
        }),
        Source::Meta(key) => expression(out, "meta", |out| {
            out.u32(2, key);
            out.u32(1, dreg.number());
        }),
        Source::Ct(key) => expression(out, "ct", |out| {
            out.u32(2, key);
            out.u32(1, dreg.number());
        }),
        Source::FibType(fields) => expression(out, "fib", |out| {
            out.u32(3, fields);
            out.u32(2, FIB_ADDRTYPE);
            out.u32(1, dreg.number());
        }),
    }
}

fn store(out: &mut Writer, selector: Selector, sreg: Reg) {
    let (name, key, source) = match selector.source() {
        Source::Ct(key) => ("ct", key, 4),
        Source::Meta(key) => ("meta", key, 3),
        // Nothing else can be written; the kernel says so.
        Source::Payload(..) | Source::FibType(_) => ("meta", u32::MAX, 3),
    };
    expression(out, name, |out| {
        out.u32(2, key);
        out.u32(source, sreg.number());
    });
}

/// Writes one expression. The attribute numbers are those of the expression's own enum in nf_tables.h
/// (`NFTA_CMP_*`, `NFTA_NAT_*`, ...), in the order of its members.
pub(crate) fn encode(out: &mut Writer, expr: &Expr) {
    match expr {
        Expr::Load { selector, dreg } => load(out, *selector, *dreg),
        Expr::Store { selector, sreg } => store(out, *selector, *sreg),
        Expr::Cmp { sreg, equal, value: bytes } => expression(out, "cmp", |out| {
            out.u32(1, sreg.number());
            out.u32(2, u32::from(!equal));
            value(out, 3, bytes);
        }),
        Expr::Bitwise { sreg, dreg, mask, xor } => expression(out, "bitwise", |out| {
            out.u32(1, sreg.number());
            out.u32(2, dreg.number());
            out.u32(3, mask.len() as u32);
            value(out, 4, mask);
            value(out, 5, xor);
        }),
        Expr::Lookup { set, sreg, kind } => expression(out, "lookup", |out| {
            out.string(1, set);
            out.u32(2, sreg.number());
            match kind {
                Lookup::Member => {}
                Lookup::NotMember => out.u32(5, LOOKUP_INVERT),
                Lookup::Verdict => out.u32(3, VERDICT_REGISTER),
                Lookup::Into(dreg) => out.u32(3, dreg.number()),
            }
        }),
        Expr::Immediate { dreg, value: bytes } => expression(out, "immediate", |out| {
            out.u32(1, dreg.number());
            value(out, 2, bytes);
        }),
        Expr::Verdict(decision) => expression(out, "immediate", |out| {
            out.u32(1, VERDICT_REGISTER);
            out.nest(2, |out| verdict(out, decision));
        }),
        Expr::Nat { kind, network, address, port, flags: bits } => expression(out, "nat", |out| {
            out.u32(1, u32::from(*kind == NatKind::Destination));
            out.u32(2, network.nfproto().into());
            register(out, 3, *address);
            register(out, 5, *port);
            flags(out, 7, *bits);
        }),
        Expr::Masquerade { flags: bits } => expression(out, "masq", |out| flags(out, 1, *bits)),
        Expr::Redirect { port, flags: bits } => expression(out, "redir", |out| {
            register(out, 1, *port);
            flags(out, 3, *bits);
        }),
        Expr::Reject { kind, code } => expression(out, "reject", |out| {
            out.u32(1, *kind);
            out.bytes(2, &[*code]);
        }),
        Expr::Counter => expression(out, "counter", |_| {}),
        Expr::Other { name, data } => {
            out.string(attr::EXPR_NAME, name);
            out.bytes(attr::EXPR_DATA | 0x8000, data);
        }
    }
}
