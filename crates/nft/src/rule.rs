//! Rules: conditions and what to do, written as a chain of calls.

use std::{fmt, net::IpAddr};

use crate::{
    expr::{Expr, Lookup, NatKind, Reg, describe},
    selector::{Network, Selector, addr_type},
    set::Verdict,
    table::Family,
    value::{FieldType, Value},
};

/// A rule to add: conditions, all of which must hold, and actions, in the order of the calls.
///
/// ```no_run
/// use nft::{Rule, Selector, Value, proto};
/// let rule = Rule::new()
///     .eq(Selector::IifName, "cni0")
///     .eq(Selector::L4Proto, Value::Proto(proto::TCP))
///     .in_set(&[Selector::IpSaddr], "pods4")
///     .masquerade(0)
///     .comment("podlink");
/// assert_eq!(
///     rule.to_string(),
///     "iifname \"cni0\" meta l4proto tcp ip saddr @pods4 masquerade comment \"podlink\""
/// );
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Rule {
    steps: Vec<Step>,
    comment: Option<String>,
    /// The first mistake in the calls, told when the rule is to be sent: a chain of calls cannot fail midway.
    mistake: Option<String>,
}

/// Expressions that are only meaningful on packets of one network protocol, or on all.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Step {
    network: Option<Network>,
    exprs: Vec<Expr>,
}

const R0: Reg = Reg(0);

impl Rule {
    /// A rule without conditions or actions.
    pub fn new() -> Rule {
        Rule::default()
    }

    fn step(mut self, network: Option<Network>, exprs: Vec<Expr>) -> Rule {
        self.steps.push(Step { network, exprs });
        self
    }

    fn expect(mut self, selector: Selector, found: FieldType) -> Rule {
        let expected = selector.field_type();
        if expected != found {
            self.mistake
                .get_or_insert_with(|| format!("{selector} is of type {expected}, it was compared with {found}"));
        }
        self
    }

    fn compare(self, selector: Selector, equal: bool, value: Vec<u8>) -> Rule {
        let cmp = Expr::Cmp { sreg: R0, equal, value };
        self.step(selector.network(), vec![Expr::Load { selector, dreg: R0 }, cmp])
    }

    fn masked_u32(mut self, selector: Selector, mask: u32, equal: bool, value: u32) -> Rule {
        if selector.field_type().size() != 4 || selector.network().is_some() {
            self.mistake.get_or_insert_with(|| format!("{selector} is no 32-bit number to take bits of"));
        }
        self.masked(selector, mask.to_ne_bytes().to_vec(), equal, value.to_ne_bytes().to_vec())
    }

    fn masked(self, selector: Selector, mask: Vec<u8>, equal: bool, value: Vec<u8>) -> Rule {
        let xor = vec![0; mask.len()];
        self.step(
            selector.network(),
            vec![
                Expr::Load { selector, dreg: R0 },
                Expr::Bitwise { sreg: R0, dreg: R0, mask, xor },
                Expr::Cmp { sreg: R0, equal, value },
            ],
        )
    }

    /// The property is this value. The value must be of the selector's type ([`Selector::field_type`]).
    pub fn eq(self, selector: Selector, value: impl Into<Value>) -> Rule {
        let value = value.into();
        self.expect(selector, value.field_type()).compare(selector, true, value.to_bytes())
    }

    /// The property is not this value.
    pub fn ne(self, selector: Selector, value: impl Into<Value>) -> Rule {
        let value = value.into();
        self.expect(selector, value.field_type()).compare(selector, false, value.to_bytes())
    }

    fn prefix(mut self, selector: Selector, address: IpAddr, length: u8, equal: bool) -> Rule {
        self = self.expect(selector, Value::from(address).field_type());
        let address = Value::from(address).to_bytes();
        if usize::from(length) > address.len() * 8 {
            self.mistake
                .get_or_insert_with(|| format!("{selector}: a prefix of {length} bits is longer than the address"));
        }
        let mask = prefix_mask(address.len(), length);
        let value: Vec<u8> = address.iter().zip(&mask).map(|(byte, mask)| byte & mask).collect();
        if mask.iter().all(|byte| *byte == 0xff) {
            return self.compare(selector, equal, value);
        }
        if equal && length == 0 {
            // Every address of the protocol: only the protocol itself is left to check.
            return self.step(selector.network(), Vec::new());
        }
        self.masked(selector, mask, equal, value)
    }

    /// The address lies in `address/length`. Bits after the prefix are ignored; `address` must be of the selector's
    /// network protocol.
    pub fn in_prefix(self, selector: Selector, address: impl Into<IpAddr>, length: u8) -> Rule {
        self.prefix(selector, address.into(), length, true)
    }

    /// The address lies outside `address/length`.
    pub fn not_in_prefix(self, selector: Selector, address: impl Into<IpAddr>, length: u8) -> Rule {
        self.prefix(selector, address.into(), length, false)
    }

    /// `selector & mask == value`, for marks: `masked_eq(Selector::Mark, 0x2000, 0x2000)`.
    pub fn masked_eq(self, selector: Selector, mask: u32, value: u32) -> Rule {
        self.masked_u32(selector, mask, true, value)
    }

    /// `selector & mask != value`.
    pub fn masked_ne(self, selector: Selector, mask: u32, value: u32) -> Rule {
        self.masked_u32(selector, mask, false, value)
    }

    /// At least one of the bits is set: `any_of(Selector::CtState, ct_state::ESTABLISHED | ct_state::RELATED)`.
    pub fn any_of(self, selector: Selector, bits: u32) -> Rule {
        self.masked_ne(selector, bits, 0)
    }

    /// None of the bits is set.
    pub fn none_of(self, selector: Selector, bits: u32) -> Rule {
        self.masked_eq(selector, bits, 0)
    }

    /// The destination is an address of this host (`fib daddr type local`).
    pub fn to_local(self) -> Rule {
        self.eq(Selector::FibDaddrType, Value::FibAddrType(addr_type::LOCAL))
    }

    fn lookup(self, network: Option<Network>, selectors: &[Selector], set: String, kind: Lookup) -> Rule {
        let mut exprs = load_key(selectors);
        exprs.push(Expr::Lookup { set, sreg: R0, kind });
        let network = network.or_else(|| selectors.iter().find_map(|selector| selector.network()));
        self.step(network, exprs)
    }

    /// The concatenation of the properties is in the set.
    pub fn in_set(self, selectors: &[Selector], set: impl Into<String>) -> Rule {
        self.lookup(None, selectors, set.into(), Lookup::Member)
    }

    /// The concatenation of the properties is not in the set.
    pub fn not_in_set(self, selectors: &[Selector], set: impl Into<String>) -> Rule {
        self.lookup(None, selectors, set.into(), Lookup::NotMember)
    }

    /// Takes the verdict the map has for the concatenation; the rule ends without effect if it has none.
    pub fn verdict_map(self, selectors: &[Selector], map: impl Into<String>) -> Rule {
        self.lookup(None, selectors, map.into(), Lookup::Verdict)
    }

    fn nat(self, kind: NatKind, address: IpAddr, port: Option<u16>, flags: u32) -> Rule {
        let network = network_of(address);
        let mut exprs = vec![Expr::Immediate { dreg: R0, value: Value::from(address).to_bytes() }];
        let port_reg = after_address(network);
        if let Some(port) = port {
            exprs.push(Expr::Immediate { dreg: port_reg, value: Value::Port(port).to_bytes() });
        }
        exprs.push(Expr::Nat { kind, network, address: Some(R0), port: port.map(|_| port_reg), flags });
        self.step(Some(network), exprs)
    }

    /// Translates the source. `flags`: [`nat_flags`](crate::nat_flags).
    pub fn snat(self, address: impl Into<IpAddr>, port: Option<u16>, flags: u32) -> Rule {
        self.nat(NatKind::Source, address.into(), port, flags)
    }

    /// Translates the destination.
    pub fn dnat(self, address: impl Into<IpAddr>, port: Option<u16>, flags: u32) -> Rule {
        self.nat(NatKind::Destination, address.into(), port, flags)
    }

    fn nat_map(
        mut self,
        kind: NatKind,
        network: Network,
        selectors: &[Selector],
        map: String,
        with_port: bool,
        flags: u32,
    ) -> Rule {
        self = self.lookup(Some(network), selectors, map, Lookup::Into(R0));
        let port = with_port.then(|| after_address(network));
        self.step(Some(network), vec![Expr::Nat { kind, network, address: Some(R0), port, flags }])
    }

    /// Translates the destination to what the map has for the concatenation; the rule ends without effect if it has
    /// nothing. `with_port`: the map's data is `address . inet_service`, else an address only.
    pub fn dnat_map(
        self,
        network: Network,
        selectors: &[Selector],
        map: impl Into<String>,
        with_port: bool,
        flags: u32,
    ) -> Rule {
        self.nat_map(NatKind::Destination, network, selectors, map.into(), with_port, flags)
    }

    /// Translates the source to what the map has for the concatenation.
    pub fn snat_map(
        self,
        network: Network,
        selectors: &[Selector],
        map: impl Into<String>,
        with_port: bool,
        flags: u32,
    ) -> Rule {
        self.nat_map(NatKind::Source, network, selectors, map.into(), with_port, flags)
    }

    /// Translates the source to the address of the outgoing interface. `flags`:
    /// [`nat_flags`](crate::nat_flags).
    pub fn masquerade(self, flags: u32) -> Rule {
        self.step(None, vec![Expr::Masquerade { flags }])
    }

    /// Translates the destination to this host, to another port if one is given.
    pub fn redirect(self, port: Option<u16>) -> Rule {
        let mut exprs = Vec::new();
        if let Some(port) = port {
            exprs.push(Expr::Immediate { dreg: R0, value: Value::Port(port).to_bytes() });
        }
        exprs.push(Expr::Redirect { port: port.map(|_| R0), flags: 0 });
        self.step(None, exprs)
    }

    fn store(self, selector: Selector, keep: u32, set: u32) -> Rule {
        let mut exprs = Vec::new();
        if keep == 0 {
            exprs.push(Expr::Immediate { dreg: R0, value: set.to_ne_bytes().to_vec() });
        } else {
            let (mask, xor) = (keep.to_ne_bytes().to_vec(), set.to_ne_bytes().to_vec());
            exprs.push(Expr::Load { selector, dreg: R0 });
            exprs.push(Expr::Bitwise { sreg: R0, dreg: R0, mask, xor });
        }
        exprs.push(Expr::Store { selector, sreg: R0 });
        self.step(None, exprs)
    }

    /// Sets the packet's mark: the bits of `mask` become those of `value`, the others stay. `set_mark(m, m)` sets one
    /// bit, `set_mark(u32::MAX, v)` the whole mark.
    pub fn set_mark(self, mask: u32, value: u32) -> Rule {
        self.store(Selector::Mark, !mask, value & mask)
    }

    /// Sets the connection's mark in the same way.
    pub fn set_ct_mark(self, mask: u32, value: u32) -> Rule {
        self.store(Selector::CtMark, !mask, value & mask)
    }

    /// Drops, and answers with an ICMP port unreachable of the packet's protocol.
    pub fn reject(self) -> Rule {
        self.step(None, vec![Expr::Reject { kind: REJECT_ICMPX, code: ICMPX_PORT_UNREACHABLE }])
    }

    /// Drops, and answers with a TCP reset. Check [`Selector::L4Proto`] first.
    pub fn reject_tcp_reset(self) -> Rule {
        self.step(None, vec![Expr::Reject { kind: REJECT_TCP_RESET, code: 0 }])
    }

    /// Counts packets and bytes.
    pub fn counter(self) -> Rule {
        self.step(None, vec![Expr::Counter])
    }

    /// Decides.
    pub fn verdict(self, verdict: Verdict) -> Rule {
        self.step(None, vec![Expr::Verdict(verdict)])
    }

    /// Lets the packet pass.
    pub fn accept(self) -> Rule {
        self.verdict(Verdict::Accept)
    }

    /// Drops the packet.
    pub fn drop(self) -> Rule {
        self.verdict(Verdict::Drop)
    }

    /// Goes back to the calling chain.
    pub fn ret(self) -> Rule {
        self.verdict(Verdict::Return)
    }

    /// Goes into a chain of the same table and comes back.
    pub fn jump(self, chain: impl Into<String>) -> Rule {
        self.verdict(Verdict::Jump(chain.into()))
    }

    /// Goes into a chain of the same table for good.
    pub fn goto(self, chain: impl Into<String>) -> Rule {
        self.verdict(Verdict::Goto(chain.into()))
    }

    /// Adds an expression as it is.
    pub fn expr(self, expr: Expr) -> Rule {
        self.step(None, vec![expr])
    }

    /// Sets the comment (`NFTNL_UDATA_RULE_COMMENT`); at most [`MAX_COMMENT`](crate::MAX_COMMENT) bytes.
    pub fn comment(mut self, comment: impl Into<String>) -> Rule {
        self.comment = Some(comment.into());
        self
    }

    pub(crate) fn comment_text(&self) -> Option<&str> {
        self.comment.as_deref()
    }

    pub(crate) fn mistake(&self) -> Option<&str> {
        self.mistake.as_deref()
    }

    /// What is sent to the kernel for a table of this family: the expressions, with the check of the network protocol
    /// that fields of it need in a table that sees several.
    pub fn compile(&self, family: Family) -> Vec<Expr> {
        let mut known = None;
        let mut exprs = Vec::new();
        for step in &self.steps {
            if let Some((selector, value)) = step.network.filter(|n| known != Some(*n)).and_then(|n| guard(family, n)) {
                exprs.push(Expr::Load { selector, dreg: R0 });
                exprs.push(Expr::Cmp { sreg: R0, equal: true, value });
                known = step.network;
            }
            known = proven(family, &step.exprs).or(known);
            exprs.extend(step.exprs.iter().cloned().map(|expr| reject_for(family, expr)));
        }
        exprs
    }
}

/// As in `nft add rule`, before the checks a family adds ([`Rule::compile`]).
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exprs: Vec<Expr> = self.steps.iter().flat_map(|step| step.exprs.iter().cloned()).collect();
        f.write_str(&describe(&exprs))?;
        match &self.comment {
            Some(comment) => write!(f, " comment \"{comment}\""),
            None => Ok(()),
        }
    }
}

/// A rule as the kernel tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleInfo {
    /// The chain it is in.
    pub chain: String,
    /// Its number in the table, for deleting it.
    pub handle: u64,
    /// Its comment.
    pub comment: Option<String>,
    /// What it does.
    pub exprs: Vec<Expr>,
}

impl RuleInfo {
    /// Whether this is the rule that adding `rule` to a table of this family makes (expressions and comment; counts
    /// do not matter).
    pub fn is(&self, rule: &Rule, family: Family) -> bool {
        self.comment.as_deref() == rule.comment_text() && self.exprs == rule.compile(family)
    }
}

impl fmt::Display for RuleInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&describe(&self.exprs))?;
        match &self.comment {
            Some(comment) => write!(f, " comment \"{comment}\""),
            None => Ok(()),
        }
    }
}

/// `NFT_REJECT_ICMP_UNREACH`.
const REJECT_ICMP: u32 = 0;
/// `NFT_REJECT_TCP_RST`.
const REJECT_TCP_RESET: u32 = 1;
/// `NFT_REJECT_ICMPX_UNREACH`.
const REJECT_ICMPX: u32 = 2;
/// `NFT_REJECT_ICMPX_PORT_UNREACH`.
const ICMPX_PORT_UNREACHABLE: u8 = 1;

/// The ip and ip6 families only know the ICMP codes of their own protocol.
fn reject_for(family: Family, expr: Expr) -> Expr {
    match (family, expr) {
        (Family::Ip, Expr::Reject { kind: REJECT_ICMPX, .. }) => Expr::Reject { kind: REJECT_ICMP, code: 3 },
        (Family::Ip6, Expr::Reject { kind: REJECT_ICMPX, .. }) => Expr::Reject { kind: REJECT_ICMP, code: 4 },
        (_, expr) => expr,
    }
}

/// How a table of this family is told that a packet is of this network protocol.
fn guard(family: Family, network: Network) -> Option<(Selector, Vec<u8>)> {
    match family {
        Family::Ip | Family::Ip6 => None,
        Family::Inet => Some((Selector::NfProto, vec![network.nfproto()])),
        Family::Bridge | Family::Netdev => Some((Selector::Protocol, network.ether_type().to_be_bytes().to_vec())),
    }
}

/// The network protocol that these expressions have checked themselves.
fn proven(family: Family, exprs: &[Expr]) -> Option<Network> {
    let [Expr::Load { selector, .. }, Expr::Cmp { equal: true, value, .. }] = exprs else { return None };
    [Network::V4, Network::V6]
        .into_iter()
        .find(|network| guard(family, *network).as_ref() == Some(&(*selector, value.clone())))
}

fn load_key(selectors: &[Selector]) -> Vec<Expr> {
    let mut next = 0;
    let mut exprs = Vec::with_capacity(selectors.len() + 1);
    for selector in selectors {
        exprs.push(Expr::Load { selector: *selector, dreg: Reg(next) });
        // A key has at most 64 bytes; the kernel refuses what runs over the last register.
        next = next.saturating_add((selector.field_type().padded() / 4) as u8);
    }
    exprs
}

fn network_of(address: IpAddr) -> Network {
    match address {
        IpAddr::V4(_) => Network::V4,
        IpAddr::V6(_) => Network::V6,
    }
}

fn after_address(network: Network) -> Reg {
    match network {
        Network::V4 => Reg(1),
        Network::V6 => Reg(4),
    }
}

fn prefix_mask(bytes: usize, length: u8) -> Vec<u8> {
    let length = usize::from(length);
    (0..bytes)
        .map(|index| match length.saturating_sub(index * 8) {
            0 => 0,
            bits @ 1..8 => 0xffu8 << (8 - bits),
            _ => 0xff,
        })
        .collect()
}
