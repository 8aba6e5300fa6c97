//! Reading what is there.

use std::collections::HashSet;

use nix::libc;

use super::{ATTEMPTS, Ack, DONE, Nft, objected};
use crate::{
    chain::{BaseChain, ChainType, Hook, Policy},
    error::{Error, Missing, Refusal},
    expr,
    rule::RuleInfo,
    set::{Element, ElementInfo, RawData},
    table::{Family, Table},
    transaction::element_list,
    value::Key,
    wire::{Attributes, Message, Writer, attr, comment_from_udata, msg},
};

const REQUEST: u16 = 0x1;
const DUMP: u16 = 0x300;
/// `NLM_F_DUMP_INTR`.
const INTERRUPTED: u16 = 0x10;
/// `NFT_SET_ELEM_INTERVAL_END`.
const INTERVAL_END: u32 = 1;
/// `NFT_SET_MAP` and `NFT_SET_ANONYMOUS`.
const SET_ANONYMOUS: u32 = 0x1;
const SET_MAP: u32 = 0x8;

/// A chain as the kernel tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainInfo {
    /// Its name.
    pub name: String,
    /// Its number in the table.
    pub handle: u64,
    /// How it hangs in the packet's way; `None` for one reached by jump and goto only.
    pub base: Option<BaseChain>,
    /// Its comment.
    pub comment: Option<String>,
}

/// A set or map as the kernel tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetInfo {
    /// Its name.
    pub name: String,
    /// Whether it maps to something.
    pub map: bool,
    /// Whether it is the unnamed set of a rule.
    pub anonymous: bool,
    /// Length of a key in bytes.
    pub key_length: u32,
    /// Its comment.
    pub comment: Option<String>,
}

/// A question to the kernel.
struct Query<'a> {
    kind: u16,
    flags: u16,
    family: u8,
    /// For errors.
    operation: &'a dyn Fn() -> String,
}

impl Nft {
    /// Asks once; what `read` makes of the messages that answer is collected.
    fn ask<T>(
        &mut self,
        query: &Query<'_>,
        body: &dyn Fn(&mut Writer),
        read: &dyn Fn(&Message<'_>) -> Option<T>,
    ) -> Result<Vec<T>, Error> {
        if query.flags & DUMP == 0 {
            for _ in 0..ATTEMPTS {
                if let Some(found) = self.ask_once(query, body, read)? {
                    return Ok(found);
                }
            }
        } else {
            // The kernel marks a dump as interrupted only when a change came between two parts of it. One that comes
            // during a part shows in the generation.
            let mut before = self.generation()?;
            for _ in 0..ATTEMPTS {
                let found = self.ask_once(query, body, read)?;
                let after = self.generation()?;
                if let Some(found) = found
                    && before == after
                {
                    return Ok(found);
                }
                before = after;
            }
        }
        Err(never_still(query))
    }

    fn ask_once<T>(
        &mut self,
        query: &Query<'_>,
        body: &dyn Fn(&mut Writer),
        read: &dyn Fn(&Message<'_>) -> Option<T>,
    ) -> Result<Option<Vec<T>>, Error> {
        let seq = self.next_seq(1);
        let mut request = Writer::default();
        request.raw_message(NFTABLES | query.kind, REQUEST | query.flags, seq, query.family, 0, body);
        self.send(&request.bytes).map_err(|source| Error::io((query.operation)(), source))?;
        self.answers(query, seq, &request.bytes, read)
    }

    /// `None` when the answer was interrupted by a change.
    fn answers<T>(
        &mut self,
        query: &Query<'_>,
        seq: u32,
        request: &[u8],
        read: &dyn Fn(&Message<'_>) -> Option<T>,
    ) -> Result<Option<Vec<T>>, Error> {
        let mut found = Vec::new();
        let mut interrupted = false;
        let mut answered = false;
        while let Some(length) = self.receive().map_err(|source| Error::io((query.operation)(), source))? {
            for message in self.messages(length).filter(|message| message.seq == seq) {
                answered = true;
                interrupted |= message.flags & INTERRUPTED != 0;
                let errno = match message.kind {
                    DONE => message.code().unwrap_or(0).saturating_neg(),
                    _ => match Ack::from_message(&message) {
                        Some(ack) if ack.errno != 0 => {
                            return refused(query, request, ack).map(|()| None);
                        }
                        Some(_) => 0,
                        None => {
                            found.extend(read(&message));
                            continue;
                        }
                    },
                };
                if errno != 0 {
                    let ack = Ack { seq, errno, detail: None, offset: None };
                    return refused(query, request, ack).map(|()| None);
                }
            }
            // A single answer is one datagram; there is no need to look for a second.
            if answered && query.flags & DUMP == 0 {
                break;
            }
        }
        if !answered {
            let source = std::io::Error::other("the kernel did not answer");
            return Err(Error::io((query.operation)(), source));
        }
        Ok((!interrupted).then_some(found))
    }

    /// The number of the rules' state in this namespace: it changes with every commit, by whomever.
    ///
    /// Also the cheapest way to learn whether the kernel has nf_tables at all:
    /// [`Error::Unsupported`] if not.
    pub fn generation(&mut self) -> Result<u32, Error> {
        let operation = || "read the nf_tables generation".to_owned();
        let query = Query { kind: msg::GET_GENERATION, flags: 0, family: 0, operation: &operation };
        let found = self.ask(&query, &|_| {}, &|message| {
            (message.nftables()? == msg::NEW_GENERATION).then(|| message.attributes().find(attr::GEN_ID)?.u32())?
        })?;
        found.first().copied().ok_or_else(|| malformed(&query))
    }

    /// Whether a table is there.
    pub fn has_table(&mut self, table: &Table) -> Result<bool, Error> {
        let operation = || format!("look for table {table}");
        let query = Query { kind: msg::GET_TABLE, flags: 0, family: table.family.number(), operation: &operation };
        let found = self.ask(&query, &|out| out.string(attr::TABLE_NAME, &table.name), &|_| Some(()));
        present(found).map(|found| found.is_some())
    }

    /// The tables of one family, or of all.
    pub fn tables(&mut self, family: Option<Family>) -> Result<Vec<Table>, Error> {
        let operation = || "list tables".to_owned();
        let number = family.map_or(0, Family::number);
        let query = Query { kind: msg::GET_TABLE, flags: DUMP, family: number, operation: &operation };
        self.ask(&query, &|_| {}, &|message| {
            let name = message.attributes().find(attr::TABLE_NAME)?.str()?;
            Some(Table::named(message.family()?, name))
        })
    }

    /// One chain; `None` if it, or the table, is missing.
    pub fn chain(&mut self, table: &Table, chain: &str) -> Result<Option<ChainInfo>, Error> {
        let operation = || format!("read chain {table} {chain}");
        let query = Query { kind: msg::GET_CHAIN, flags: 0, family: table.family.number(), operation: &operation };
        let body = |out: &mut Writer| {
            out.string(attr::CHAIN_TABLE, &table.name);
            out.string(attr::CHAIN_NAME, chain);
        };
        present(self.ask(&query, &body, &|message| read_chain(table, message)))
    }

    /// The chains of a table; none if it is missing.
    pub fn chains(&mut self, table: &Table) -> Result<Vec<ChainInfo>, Error> {
        let operation = || format!("list chains of {table}");
        let query = Query { kind: msg::GET_CHAIN, flags: DUMP, family: table.family.number(), operation: &operation };
        self.ask(&query, &|out| out.string(attr::CHAIN_TABLE, &table.name), &|message| read_chain(table, message))
    }

    /// The rules of a chain in their order; none if the chain or the table is missing.
    pub fn rules(&mut self, table: &Table, chain: &str) -> Result<Vec<RuleInfo>, Error> {
        self.read_rules(table, Some(chain))
    }

    /// The rules of all chains of a table; none if it is missing.
    pub fn table_rules(&mut self, table: &Table) -> Result<Vec<RuleInfo>, Error> {
        self.read_rules(table, None)
    }

    fn read_rules(&mut self, table: &Table, chain: Option<&str>) -> Result<Vec<RuleInfo>, Error> {
        let operation = || format!("list rules of {table} {}", chain.unwrap_or_default());
        let query = Query { kind: msg::GET_RULE, flags: DUMP, family: table.family.number(), operation: &operation };
        let body = |out: &mut Writer| {
            out.string(attr::RULE_TABLE, &table.name);
            if let Some(chain) = chain {
                out.string(attr::RULE_CHAIN, chain);
            }
        };
        self.ask(&query, &body, &|message| {
            let rule = read_rule(message.attributes(), table)?;
            chain.is_none_or(|chain| rule.chain == chain).then_some(rule)
        })
    }

    /// The sets and maps of a table; none if it is missing.
    pub fn sets(&mut self, table: &Table) -> Result<Vec<SetInfo>, Error> {
        let operation = || format!("list sets of {table}");
        let query = Query { kind: msg::GET_SET, flags: DUMP, family: table.family.number(), operation: &operation };
        let found = self.ask(&query, &|out| out.string(attr::SET_TABLE, &table.name), &|message| {
            let attributes = message.attributes();
            if attributes.find(attr::SET_TABLE)?.str()? != table.name {
                return None;
            }
            let flags = attributes.find(attr::SET_FLAGS).and_then(|flags| flags.u32()).unwrap_or(0);
            Some(SetInfo {
                name: attributes.find(attr::SET_NAME)?.str()?.to_owned(),
                map: flags & SET_MAP != 0,
                anonymous: flags & SET_ANONYMOUS != 0,
                key_length: attributes.find(attr::SET_KEY_LEN)?.u32()?,
                comment: comment(attributes, attr::SET_USERDATA, crate::UDATA_SET_COMMENT),
            })
        });
        Ok(present(found.map(|sets| vec![sets]))?.unwrap_or_default())
    }

    /// One element of a set or map by its key; `None` if it is not in it. A missing set or table is
    /// [`Error::NotFound`] where the kernel tells them apart (5.19 and later), else `None` too.
    pub fn element(&mut self, table: &Table, set: &str, key: impl Into<Key>) -> Result<Option<ElementInfo>, Error> {
        let element = Element::new(key);
        let operation = || format!("read element {table} {set} {{ {element} }}");
        let query = Query { kind: msg::GET_ELEMENT, flags: 0, family: table.family.number(), operation: &operation };
        let body = |out: &mut Writer| element_list(out, table, set, std::slice::from_ref(&element), false);
        match self.ask(&query, &body, &|message| Some(read_elements(message))) {
            Ok(found) => Ok(found.into_iter().flatten().next()),
            Err(Error::NotFound { missing: Missing::Element | Missing::Unknown, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// All elements of a set or map, in no order. A missing set or table is [`Error::NotFound`].
    pub fn elements(&mut self, table: &Table, set: &str) -> Result<Vec<ElementInfo>, Error> {
        let operation = || format!("list elements of {table} {set}");
        let query = Query { kind: msg::GET_ELEMENT, flags: DUMP, family: table.family.number(), operation: &operation };
        let body = |out: &mut Writer| {
            out.string(attr::ELEM_LIST_TABLE, &table.name);
            out.string(attr::ELEM_LIST_SET, set);
        };
        for _ in 0..ATTEMPTS {
            let parts = self.ask(&query, &body, &|message| Some(read_elements(message)))?;
            let found = parts.into_iter().flatten().collect::<Vec<_>>();
            // A hash that grows between two parts of the answer moves its elements: one comes twice and another not at all,
            // and nothing else tells.
            if !any_twice(&found) {
                return Ok(found);
            }
        }
        Err(never_still(&query))
    }

    /// The same, but none where the set or its table is not there, or is removed in this moment.
    pub fn elements_if_there(&mut self, table: &Table, set: &str) -> Result<Vec<ElementInfo>, Error> {
        self.elements(table, set).or_else(|error| if error.is_not_found() { Ok(Vec::new()) } else { Err(error) })
    }
}

/// `NFNL_SUBSYS_NFTABLES << 8`.
const NFTABLES: u16 = 10 << 8;

fn refused(query: &Query<'_>, request: &[u8], ack: Ack) -> Result<(), Error> {
    if ack.errno == libc::EINTR || ack.errno == libc::EAGAIN {
        return Ok(());
    }
    // A kernel without nf_tables does not know the message; only a key can be wrong otherwise.
    if ack.errno == libc::EINVAL && query.kind != msg::GET_ELEMENT {
        return Err(Error::Unsupported {
            operation: (query.operation)(),
            detail: "it does not know the message: has it no nf_tables?".to_owned(),
        });
    }
    let (missing, _) = objected(request, ack.offset);
    Err(Error::refused(ack.refusal((query.operation)(), None), missing))
}

fn malformed(query: &Query<'_>) -> Error {
    Error::io((query.operation)(), std::io::Error::other("the kernel's answer could not be understood"))
}

/// The one thing asked for, if it is there.
fn present<T>(found: Result<Vec<T>, Error>) -> Result<Option<T>, Error> {
    match found {
        Ok(found) => Ok(found.into_iter().next()),
        Err(Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

fn comment(attributes: Attributes<'_>, attribute: u16, kind: u8) -> Option<String> {
    comment_from_udata(kind, attributes.find(attribute)?.value)
}

fn read_chain(table: &Table, message: &Message<'_>) -> Option<ChainInfo> {
    let attributes = message.attributes();
    if attributes.find(attr::CHAIN_TABLE)?.str()? != table.name {
        return None;
    }
    Some(ChainInfo {
        name: attributes.find(attr::CHAIN_NAME)?.str()?.to_owned(),
        handle: attributes.find(attr::CHAIN_HANDLE)?.u64()?,
        base: read_base(attributes, table.family),
        comment: comment(attributes, attr::CHAIN_USERDATA, crate::UDATA_COMMENT),
    })
}

fn read_base(attributes: Attributes<'_>, family: Family) -> Option<BaseChain> {
    let hook = attributes.find(attr::CHAIN_HOOK)?.nested();
    Some(BaseChain {
        kind: ChainType::from_name(attributes.find(attr::CHAIN_TYPE)?.str()?)?,
        hook: Hook::from_number(hook.find(attr::HOOK_NUMBER)?.u32()?, family)?,
        priority: hook.find(attr::HOOK_PRIORITY)?.u32()?.cast_signed(),
        policy: match attributes.find(attr::CHAIN_POLICY).and_then(|policy| policy.u32()) {
            Some(0) => Policy::Drop,
            _ => Policy::Accept,
        },
        device: hook.find(attr::HOOK_DEVICE).and_then(|device| device.str()).map(str::to_owned),
    })
}

fn read_rule(attributes: Attributes<'_>, table: &Table) -> Option<RuleInfo> {
    if attributes.find(attr::RULE_TABLE)?.str()? != table.name {
        return None;
    }
    let exprs = attributes.find(attr::RULE_EXPRESSIONS);
    Some(RuleInfo {
        chain: attributes.find(attr::RULE_CHAIN)?.str()?.to_owned(),
        handle: attributes.find(attr::RULE_HANDLE)?.u64()?,
        comment: comment(attributes, attr::RULE_USERDATA, crate::UDATA_COMMENT),
        exprs: exprs.map(|list| list.nested().map(|entry| expr::decode(entry.nested())).collect()).unwrap_or_default(),
    })
}

fn never_still(query: &Query<'_>) -> Error {
    let refusal = Refusal {
        operation: (query.operation)(),
        index: None,
        errno: libc::EINTR,
        detail: Some(format!("the rules changed during each of {ATTEMPTS} attempts to read them")),
    };
    Error::refused(refusal, Missing::Unknown)
}

fn any_twice(elements: &[ElementInfo]) -> bool {
    let mut seen = HashSet::with_capacity(elements.len());
    !elements.iter().all(|element| seen.insert((&element.key, &element.to, element.interval_end)))
}

fn read_elements(message: &Message<'_>) -> Vec<ElementInfo> {
    let list = message.attributes().find(attr::ELEM_LIST_ELEMENTS).map(|list| list.nested());
    list.map(|list| list.filter_map(|entry| read_element(entry.nested())).collect()).unwrap_or_default()
}

fn read_element(attributes: Attributes<'_>) -> Option<ElementInfo> {
    let mut info = ElementInfo { key: Vec::new(), to: None, interval_end: false, data: None, owner: None };
    let value = |data: Attributes<'_>| data.find(attr::DATA_VALUE).map(|value| value.value.to_vec());
    for attribute in attributes {
        match attribute.kind {
            attr::ELEM_KEY => info.key = value(attribute.nested())?,
            attr::ELEM_KEY_END => info.to = value(attribute.nested()),
            attr::ELEM_FLAGS => info.interval_end = attribute.u32()? & INTERVAL_END != 0,
            attr::ELEM_DATA => {
                let data = attribute.nested();
                info.data = match value(data) {
                    Some(bytes) => Some(RawData::Value(bytes)),
                    None => expr::verdict(data).map(RawData::Verdict),
                };
            }
            attr::ELEM_USERDATA => info.owner = comment_from_udata(crate::UDATA_COMMENT, attribute.value),
            _ => {}
        }
    }
    Some(info)
}
