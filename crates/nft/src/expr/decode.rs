//! Expressions from what the kernel reports.
//!
//! The kernel adds what was left to it (the upper end of a range equal to the lower, flags it derives); that is taken
//! off again here, so that a rule read back equals the rule sent.

use super::{Expr, Lookup, NatKind, Reg};
use crate::{
    selector::{Network, Selector, Source},
    set::Verdict,
    wire::{Attribute, Attributes, attr},
};

/// `NF_NAT_RANGE_MAP_IPS` and `NF_NAT_RANGE_PROTO_SPECIFIED`: the kernel derives them from the registers.
const DERIVED_NAT_FLAGS: u32 = 1 | 2;

/// Reads one `NFTA_LIST_ELEM` of a rule.
pub(crate) fn decode(element: Attributes<'_>) -> Expr {
    let name = element.find(attr::EXPR_NAME).and_then(|name| name.str()).unwrap_or_default();
    let data = element.find(attr::EXPR_DATA).map_or(Attributes(&[]), |data| data.nested());
    known(name, data).unwrap_or_else(|| Expr::Other { name: name.to_owned(), data: data.0.to_vec() })
}

/// The attributes of an expression, read by number.
struct Fields<'a>(Attributes<'a>);

impl<'a> Fields<'a> {
    fn get(&self, kind: u16) -> Option<Attribute<'a>> {
        self.0.find(kind)
    }

    fn u32(&self, kind: u16) -> Option<u32> {
        self.get(kind)?.u32()
    }

    fn reg(&self, kind: u16) -> Option<Reg> {
        Reg::from_number(self.u32(kind)?)
    }

    fn value(&self, kind: u16) -> Option<Vec<u8>> {
        Some(self.get(kind)?.nested().find(attr::DATA_VALUE)?.value.to_vec())
    }

    /// Whether a range is a single register: its upper end is absent or the lower.
    fn single(&self, low: u16, high: u16) -> bool {
        self.u32(high).is_none_or(|register| Some(register) == self.u32(low))
    }
}

fn selected(source: Source, fields: &Fields<'_>, dreg: u16, sreg: u16) -> Option<Expr> {
    let selector = Selector::from_source(source)?;
    match fields.reg(dreg) {
        Some(dreg) => Some(Expr::Load { selector, dreg }),
        None => Some(Expr::Store { selector, sreg: fields.reg(sreg)? }),
    }
}

fn known(name: &str, data: Attributes<'_>) -> Option<Expr> {
    let fields = Fields(data);
    match name {
        "payload" => {
            let source = Source::Payload(fields.u32(2)?, fields.u32(3)?, fields.u32(4)?);
            Some(Expr::Load { selector: Selector::from_source(source)?, dreg: fields.reg(1)? })
        }
        "meta" => selected(Source::Meta(fields.u32(2)?), &fields, 1, 3),
        // A direction (NFTA_CT_DIRECTION) is asked for by none of our selectors.
        "ct" if fields.get(3).is_none() => selected(Source::Ct(fields.u32(2)?), &fields, 1, 4),
        "fib" if fields.u32(2) == Some(3) => {
            let selector = Selector::from_source(Source::FibType(fields.u32(3)?))?;
            Some(Expr::Load { selector, dreg: fields.reg(1)? })
        }
        "cmp" => {
            let equal = match fields.u32(2)? {
                0 => true,
                1 => false,
                _ => return None,
            };
            Some(Expr::Cmp { sreg: fields.reg(1)?, equal, value: fields.value(3)? })
        }
        "bitwise" if fields.u32(6).unwrap_or(0) == 0 => Some(Expr::Bitwise {
            sreg: fields.reg(1)?,
            dreg: fields.reg(2)?,
            mask: fields.value(4)?,
            xor: fields.value(5)?,
        }),
        "lookup" => {
            let kind = match (fields.u32(3), fields.u32(5).unwrap_or(0)) {
                (None, 0) => Lookup::Member,
                (None, 1) => Lookup::NotMember,
                (Some(0), 0) => Lookup::Verdict,
                (Some(number), 0) => Lookup::Into(Reg::from_number(number)?),
                _ => return None,
            };
            Some(Expr::Lookup { set: fields.get(1)?.str()?.to_owned(), sreg: fields.reg(2)?, kind })
        }
        "immediate" => match fields.u32(1)? {
            0 => verdict(fields.get(2)?.nested()).map(Expr::Verdict),
            number => Some(Expr::Immediate { dreg: Reg::from_number(number)?, value: fields.value(2)? }),
        },
        "nat" if fields.single(3, 4) && fields.single(5, 6) => Some(Expr::Nat {
            kind: if fields.u32(1)? == 0 { NatKind::Source } else { NatKind::Destination },
            network: match fields.u32(2)? {
                2 => Network::V4,
                10 => Network::V6,
                _ => return None,
            },
            address: fields.reg(3),
            port: fields.reg(5),
            flags: fields.u32(7).unwrap_or(0) & !DERIVED_NAT_FLAGS,
        }),
        "masq" if fields.get(2).is_none() => Some(Expr::Masquerade { flags: fields.u32(1).unwrap_or(0) }),
        "redir" if fields.single(1, 2) => {
            Some(Expr::Redirect { port: fields.reg(1), flags: fields.u32(3).unwrap_or(0) & !DERIVED_NAT_FLAGS })
        }
        "reject" => Some(Expr::Reject {
            kind: fields.u32(1)?,
            // A TCP reset has no code, and not every kernel reports the zero.
            code: fields.get(2).and_then(|code| code.value.first().copied()).unwrap_or(0),
        }),
        "counter" => Some(Expr::Counter),
        _ => None,
    }
}

/// Reads the data of an immediate or of a map's element as a verdict (`NFTA_DATA_VERDICT`).
pub(crate) fn verdict(data: Attributes<'_>) -> Option<Verdict> {
    let verdict = data.find(attr::DATA_VERDICT)?.nested();
    let chain = verdict.find(attr::VERDICT_CHAIN).and_then(|chain| chain.str()).map(str::to_owned);
    Verdict::from_code(verdict.find(attr::VERDICT_CODE)?.u32()?.cast_signed(), chain)
}
