//! Expressions in the words of `nft`.
//!
//! The kernel computes on registers; people read conditions. What each register holds is followed here, as text and
//! type, until an expression uses it.

use std::{collections::BTreeMap, fmt::Write as _};

use super::{Expr, Lookup, NatKind, Reg};
use crate::value::{FieldType, Value};

/// What a register holds.
#[derive(Debug, Clone)]
struct Content {
    text: String,
    kind: Option<FieldType>,
    /// Whether bits were taken from it (`& mask`).
    masked: Option<Vec<u8>>,
}

/// Shows expressions as `nft` would write the rule: `ip saddr 10.0.0.0/8 meta mark set …`.
pub fn describe(exprs: &[Expr]) -> String {
    let mut registers = BTreeMap::new();
    let mut words = Vec::new();
    for expr in exprs {
        if let Some(word) = word(&mut registers, expr) {
            words.push(word);
        }
    }
    words.join(" ")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::from("0x"), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn typed(kind: Option<FieldType>, bytes: &[u8]) -> String {
    kind.and_then(|kind| Value::from_bytes(kind, bytes)).map_or_else(|| hex(bytes), |value| value.to_string())
}

fn word(registers: &mut BTreeMap<u8, Content>, expr: &Expr) -> Option<String> {
    match expr {
        Expr::Load { selector, dreg } => {
            let content = Content { text: selector.to_string(), kind: Some(selector.field_type()), masked: None };
            registers.insert(dreg.0, content);
            None
        }
        Expr::Immediate { dreg, value } => {
            registers.insert(dreg.0, constant(value));
            None
        }
        Expr::Bitwise { sreg, dreg, mask, xor } => {
            let content = bitwise(registers.get(&sreg.0).cloned(), mask, xor);
            registers.insert(dreg.0, content);
            None
        }
        Expr::Cmp { sreg, equal, value } => Some(comparison(registers.get(&sreg.0), *equal, value)),
        Expr::Store { selector, sreg } => {
            let value = registers.get(&sreg.0).map_or_else(
                || "?".to_owned(),
                |content| match &content.masked {
                    None if content.kind.is_none() => immediate(content, Some(selector.field_type())),
                    _ => content.text.clone(),
                },
            );
            Some(format!("{selector} set {value}"))
        }
        Expr::Lookup { set, sreg, kind } => {
            let key = key(registers, *sreg);
            match kind {
                Lookup::Member => Some(format!("{key} @{set}")),
                Lookup::NotMember => Some(format!("{key} != @{set}")),
                Lookup::Verdict => Some(format!("{key} vmap @{set}")),
                Lookup::Into(dreg) => {
                    registers.clear();
                    let content = Content { text: format!("{key} map @{set}"), kind: None, masked: None };
                    registers.insert(dreg.0, content);
                    None
                }
            }
        }
        Expr::Verdict(verdict) => Some(verdict.to_string()),
        Expr::Nat { kind, network, address, port, flags } => {
            let name = if *kind == NatKind::Source { "snat" } else { "dnat" };
            let address =
                address.and_then(|reg| registers.get(&reg.0)).map(|c| immediate(c, Some(network.field_type())));
            let port = port.and_then(|reg| registers.get(&reg.0)).map(|c| immediate(c, Some(FieldType::InetService)));
            let mut text = format!("{name} {network} to {}", address.unwrap_or_default());
            if let Some(port) = port {
                let _ = write!(text, ":{port}");
            }
            Some(text + nat_flags(*flags))
        }
        Expr::Masquerade { flags } => Some(format!("masquerade{}", nat_flags(*flags))),
        Expr::Redirect { port, flags } => {
            let port = port.and_then(|reg| registers.get(&reg.0)).map(|c| immediate(c, Some(FieldType::InetService)));
            let port = port.map(|port| format!(" to :{port}")).unwrap_or_default();
            Some(format!("redirect{port}{}", nat_flags(*flags)))
        }
        Expr::Reject { kind: 1, .. } => Some("reject with tcp reset".to_owned()),
        Expr::Reject { .. } => Some("reject".to_owned()),
        Expr::Counter => Some("counter".to_owned()),
        Expr::Other { name, data } => Some(format!("{name} {}", hex(data))),
    }
}

fn constant(value: &[u8]) -> Content {
    Content { text: hex(value), kind: None, masked: None }
}

/// A constant, whose type only its use tells, or what was loaded.
fn immediate(content: &Content, kind: Option<FieldType>) -> String {
    match content.text.strip_prefix("0x") {
        Some(digits) => {
            let bytes: Option<Vec<u8>> = (0..digits.len() / 2)
                .map(|index| u8::from_str_radix(digits.get(index * 2..index * 2 + 2)?, 16).ok())
                .collect();
            bytes.map_or_else(|| content.text.clone(), |bytes| typed(kind, &bytes))
        }
        None => content.text.clone(),
    }
}

fn bitwise(source: Option<Content>, mask: &[u8], xor: &[u8]) -> Content {
    let source = source.unwrap_or_else(|| Content { text: "?".to_owned(), kind: None, masked: None });
    let mut text = format!("{} & {}", source.text, typed(source.kind, mask));
    if xor.iter().any(|byte| *byte != 0) {
        text = format!("{text} ^ {}", typed(source.kind, xor));
        return Content { text, kind: source.kind, masked: Some(Vec::new()) };
    }
    // The name alone, so that a prefix or a bit test can be written behind it.
    Content { text: source.text, kind: source.kind, masked: Some(mask.to_vec()) }
}

fn comparison(content: Option<&Content>, equal: bool, value: &[u8]) -> String {
    let Some(content) = content else { return format!("? == {}", hex(value)) };
    let operator = if equal { "" } else { "!= " };
    let zero = value.iter().all(|byte| *byte == 0);
    match &content.masked {
        None => format!("{} {operator}{}", content.text, typed(content.kind, value)),
        Some(mask) => {
            if let (Some(FieldType::Ipv4Addr | FieldType::Ipv6Addr), Some(length)) = (content.kind, prefix_length(mask))
            {
                return format!("{} {operator}{}/{length}", content.text, typed(content.kind, value));
            }
            let bits = typed(content.kind, mask);
            if zero && !equal && matches!(content.kind, Some(FieldType::CtState | FieldType::CtStatus)) {
                return format!("{} {bits}", content.text);
            }
            let operator = if equal { "==" } else { "!=" };
            format!("{} & {bits} {operator} {}", content.text, typed(content.kind, value))
        }
    }
}

fn prefix_length(mask: &[u8]) -> Option<u32> {
    let ones: u32 = mask.iter().map(|byte| byte.leading_ones()).sum();
    let total: u32 = mask.iter().map(|byte| byte.count_ones()).sum();
    let contiguous = mask.iter().enumerate().all(|(index, byte)| match ones.saturating_sub(index as u32 * 8) {
        0 => *byte == 0,
        bits if bits >= 8 => *byte == 0xff,
        bits => *byte == 0xffu8 << (8 - bits),
    });
    (ones == total && contiguous).then_some(ones)
}

/// The properties that follow each other in the registers from `first` on, as a concatenation.
fn key(registers: &mut BTreeMap<u8, Content>, first: Reg) -> String {
    let mut parts = Vec::new();
    let mut next = first.0;
    while let Some(content) = registers.remove(&next) {
        let step = content.kind.map_or(4, FieldType::padded) / 4;
        parts.push(content.text);
        next = next.saturating_add(step as u8);
    }
    parts.join(" . ")
}

fn nat_flags(flags: u32) -> &'static str {
    match flags {
        0 => "",
        4 => " random",
        8 => " persistent",
        16 => " fully-random",
        _ => " random,persistent",
    }
}
