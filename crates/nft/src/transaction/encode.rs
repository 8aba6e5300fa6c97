//! Transactions as one netlink batch (`NFNL_MSG_BATCH_BEGIN` … `NFNL_MSG_BATCH_END`).

use super::{Operation, Place, Removal, Transaction};
use crate::{
    chain::Chain,
    expr,
    rule::Rule,
    set::{Data, Element, MapType, Set},
    table::{Family, Table},
    value::FieldType,
    wire::{BATCH_BEGIN, BATCH_END, Writer, attr, comment_to_udata, msg},
};

const REQUEST: u16 = 0x1;
const ACK: u16 = 0x4;
const REPLACE: u16 = 0x100;
const EXCL: u16 = 0x200;
const CREATE: u16 = 0x400;
const APPEND: u16 = 0x800;

/// Elements per message: the list's attribute must stay below 64 KiB, and one element takes less than 600 bytes.
const CHUNK: usize = 100;

/// `NFNL_BATCH_GENID`.
const BATCH_GENERATION: u16 = 1;
/// `NFT_SET_*`.
const SET_INTERVAL: u32 = 0x4;
const SET_MAP: u32 = 0x8;
const SET_CONCAT: u32 = 0x80;
/// `NFT_DATA_VERDICT`.
const VERDICT_TYPE: u32 = 0xffff_ff00;
/// `NFT_SET_ELEM_INTERVAL_END`.
const INTERVAL_END: u32 = 1;
/// Bits `nft` gives each field's type in the type of a concatenation.
const TYPE_BITS: u32 = 6;
/// `NFTNL_UDATA_SET_KEYBYTEORDER`, `NFTNL_UDATA_SET_DATABYTEORDER`, with `nft`'s byte orders.
const UDATA_KEY_ORDER: u8 = 0;
const UDATA_DATA_ORDER: u8 = 1;
const HOST_ORDER: u32 = 1;
const NETWORK_ORDER: u32 = 2;

/// How a transaction is written.
#[derive(Debug, Default)]
pub(crate) struct Options<'a> {
    /// The sequence number of the batch's first message.
    pub seq: u32,
    /// Write `destroy` as `delete`, one message for each element, so that [`Options::skip`] can leave out what is
    /// missing: for kernels before 6.3, and where the holder of the object is missing.
    pub emulate_destroy: bool,
    /// Units (by number) to leave out.
    pub skip: &'a [usize],
    /// Leave out the end of the batch: the kernel then checks everything and undoes it.
    pub dry_run: bool,
}

/// One message of a batch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Unit {
    /// Its number when nothing is skipped.
    pub number: usize,
    /// The operation it is of.
    pub operation: usize,
    /// The first of the operation's elements in it.
    pub first_element: usize,
    /// Where it starts in the batch.
    pub start: usize,
    /// Whether it may fail because something is missing.
    pub may_miss: bool,
}

/// A transaction ready to send. The sequence number of `units[i]` is the batch's plus 1 plus i.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub bytes: Vec<u8>,
    pub units: Vec<Unit>,
}

struct Encoder<'a> {
    options: &'a Options<'a>,
    out: Writer,
    units: Vec<Unit>,
    number: usize,
    last_flags: usize,
}

impl Encoder<'_> {
    #[allow(clippy::too_many_arguments)]
    fn unit(
        &mut self,
        operation: usize,
        first_element: usize,
        may_miss: bool,
        kind: u16,
        flags: u16,
        family: Family,
        body: impl FnOnce(&mut Writer),
    ) {
        let number = self.number;
        self.number += 1;
        if self.options.skip.contains(&number) {
            return;
        }
        let start = self.out.bytes.len();
        self.last_flags = start + 6;
        let seq = self.options.seq.wrapping_add(1).wrapping_add(self.units.len() as u32);
        self.units.push(Unit { number, operation, first_element, start, may_miss });
        self.out.message(kind, REQUEST | flags, seq, family, body);
    }

    /// `delete` and `destroy` share everything but the message's number.
    fn removal(&self, removal: Removal, delete: u16, destroy: u16) -> (u16, bool) {
        match removal {
            Removal::Delete => (delete, false),
            Removal::Destroy if self.options.emulate_destroy => (delete, true),
            Removal::Destroy => (destroy, true),
        }
    }

    fn operation(&mut self, index: usize, operation: &Operation) {
        match operation {
            Operation::AddTable { table, exclusive } => {
                self.unit(index, 0, false, msg::NEW_TABLE, creation(*exclusive), table.family, |out| {
                    out.string(attr::TABLE_NAME, &table.name);
                });
            }
            Operation::RemoveTable { table, removal } => {
                let (kind, may_miss) = self.removal(*removal, msg::DEL_TABLE, msg::DESTROY_TABLE);
                self.unit(index, 0, may_miss, kind, 0, table.family, |out| {
                    out.string(attr::TABLE_NAME, &table.name);
                });
            }
            Operation::AddChain { table, chain, exclusive } => {
                self.unit(index, 0, false, msg::NEW_CHAIN, creation(*exclusive), table.family, |out| {
                    new_chain(out, table, chain);
                });
            }
            Operation::RemoveChain { table, chain, removal } => {
                let (kind, may_miss) = self.removal(*removal, msg::DEL_CHAIN, msg::DESTROY_CHAIN);
                self.unit(index, 0, may_miss, kind, 0, table.family, |out| {
                    out.string(attr::CHAIN_TABLE, &table.name);
                    out.string(attr::CHAIN_NAME, chain);
                });
            }
            Operation::FlushChain { table, chain } => {
                self.unit(index, 0, false, msg::DEL_RULE, 0, table.family, |out| {
                    out.string(attr::RULE_TABLE, &table.name);
                    out.string(attr::RULE_CHAIN, chain);
                });
            }
            Operation::AddRule { table, chain, rule, place } => {
                let flags = match place {
                    Place::Last => CREATE | APPEND,
                    Place::First => CREATE,
                    Place::Instead(_) => REPLACE,
                };
                self.unit(index, 0, false, msg::NEW_RULE, flags, table.family, |out| {
                    new_rule(out, table, chain, rule, *place);
                });
            }
            Operation::RemoveRule { table, chain, handle, removal } => {
                let (kind, may_miss) = self.removal(*removal, msg::DEL_RULE, msg::DESTROY_RULE);
                self.unit(index, 0, may_miss, kind, 0, table.family, |out| {
                    out.string(attr::RULE_TABLE, &table.name);
                    out.string(attr::RULE_CHAIN, chain);
                    out.u64(attr::RULE_HANDLE, *handle);
                });
            }
            Operation::AddSet { table, set, exclusive } => {
                self.unit(index, 0, false, msg::NEW_SET, creation(*exclusive), table.family, |out| {
                    new_set(out, table, set, index as u32 + 1);
                });
            }
            Operation::RemoveSet { table, set, removal } => {
                let (kind, may_miss) = self.removal(*removal, msg::DEL_SET, msg::DESTROY_SET);
                self.unit(index, 0, may_miss, kind, 0, table.family, |out| {
                    out.string(attr::SET_TABLE, &table.name);
                    out.string(attr::SET_NAME, set);
                });
            }
            Operation::FlushSet { table, set } => {
                self.unit(index, 0, false, msg::DEL_ELEMENT, 0, table.family, |out| {
                    out.string(attr::ELEM_LIST_TABLE, &table.name);
                    out.string(attr::ELEM_LIST_SET, set);
                });
            }
            Operation::AddElements { table, set, elements, exclusive } => {
                for (chunk, part) in elements.chunks(CHUNK).enumerate() {
                    let flags = creation(*exclusive);
                    self.unit(index, chunk * CHUNK, false, msg::NEW_ELEMENT, flags, table.family, |out| {
                        element_list(out, table, set, part, true);
                    });
                }
            }
            Operation::RemoveElements { table, set, elements, removal } => {
                let (kind, may_miss) = self.removal(*removal, msg::DEL_ELEMENT, msg::DESTROY_ELEMENT);
                let chunk = if may_miss && self.options.emulate_destroy { 1 } else { CHUNK };
                for (number, part) in elements.chunks(chunk).enumerate() {
                    self.unit(index, number * chunk, may_miss, kind, 0, table.family, |out| {
                        element_list(out, table, set, part, false);
                    });
                }
            }
        }
    }
}

impl Transaction {
    /// Writes the batch.
    pub(crate) fn encode(&self, options: &Options<'_>) -> Batch {
        let mut encoder = Encoder { options, out: Writer::default(), units: Vec::new(), number: 0, last_flags: 0 };
        encoder.out.batch(BATCH_BEGIN, options.seq, |out| {
            if let Some(generation) = self.generation {
                out.u32(BATCH_GENERATION, generation);
            }
        });
        for (index, operation) in self.operations.iter().enumerate() {
            encoder.operation(index, operation);
        }
        let Encoder { mut out, units, last_flags, .. } = encoder;
        if units.is_empty() {
            return Batch::default();
        }
        // Failures are reported without being asked for; one acknowledgement, of the last message, tells success.
        if let Some([low, high]) = out.bytes.get_mut(last_flags..last_flags + 2) {
            [*low, *high] = (u16::from_ne_bytes([*low, *high]) | ACK).to_ne_bytes();
        }
        if !options.dry_run {
            out.batch(BATCH_END, options.seq.wrapping_add(1).wrapping_add(units.len() as u32), |_| {});
        }
        Batch { bytes: out.bytes, units }
    }

    pub(crate) fn operation(&self, index: usize) -> Option<&Operation> {
        self.operations.get(index)
    }
}

fn creation(exclusive: bool) -> u16 {
    if exclusive { CREATE | EXCL } else { CREATE }
}

fn new_chain(out: &mut Writer, table: &Table, chain: &Chain) {
    out.string(attr::CHAIN_TABLE, &table.name);
    out.string(attr::CHAIN_NAME, &chain.name);
    if let Some(base) = &chain.base {
        out.nest(attr::CHAIN_HOOK, |out| {
            out.u32(attr::HOOK_NUMBER, base.hook.number(table.family));
            out.u32(attr::HOOK_PRIORITY, base.priority.cast_unsigned());
            if let Some(device) = &base.device {
                out.string(attr::HOOK_DEVICE, device);
            }
        });
        out.u32(attr::CHAIN_POLICY, base.policy.number());
        out.string(attr::CHAIN_TYPE, base.kind.name());
    }
    if let Some(comment) = &chain.comment {
        out.bytes(attr::CHAIN_USERDATA, &comment_to_udata(crate::UDATA_COMMENT, comment));
    }
}

fn new_rule(out: &mut Writer, table: &Table, chain: &str, rule: &Rule, place: Place) {
    out.string(attr::RULE_TABLE, &table.name);
    out.string(attr::RULE_CHAIN, chain);
    if let Place::Instead(handle) = place {
        out.u64(attr::RULE_HANDLE, handle);
    }
    out.nest(attr::RULE_EXPRESSIONS, |out| {
        for expr in rule.compile(table.family) {
            out.nest(attr::LIST_ELEM, |out| expr::encode(out, &expr));
        }
    });
    if let Some(comment) = rule.comment_text() {
        out.bytes(attr::RULE_USERDATA, &comment_to_udata(crate::UDATA_COMMENT, comment));
    }
}

fn type_id(types: &[FieldType]) -> u32 {
    types.iter().fold(0, |id, kind| (id << TYPE_BITS) | kind.id())
}

fn length(types: &[FieldType]) -> u32 {
    let length: usize = match types {
        [single] => single.size(),
        fields => fields.iter().map(|kind| kind.padded()).sum(),
    };
    length as u32
}

fn byte_order(kind: u8, types: &[FieldType]) -> Vec<u8> {
    let order = match types {
        [single] if single.is_host_order() => HOST_ORDER,
        _ => NETWORK_ORDER,
    };
    let mut bytes = vec![kind, 4];
    bytes.extend(order.to_ne_bytes());
    bytes
}

fn new_set(out: &mut Writer, table: &Table, set: &Set, id: u32) {
    let mut flags = 0;
    if set.interval {
        flags |= SET_INTERVAL;
        if set.key.len() > 1 {
            flags |= SET_CONCAT;
        }
    }
    if set.data.is_some() {
        flags |= SET_MAP;
    }
    out.string(attr::SET_TABLE, &table.name);
    out.string(attr::SET_NAME, &set.name);
    out.u32(attr::SET_FLAGS, flags);
    out.u32(attr::SET_KEY_TYPE, type_id(&set.key));
    out.u32(attr::SET_KEY_LEN, length(&set.key));
    let mut udata = byte_order(UDATA_KEY_ORDER, &set.key);
    match &set.data {
        None => {}
        Some(MapType::Verdict) => out.u32(attr::SET_DATA_TYPE, VERDICT_TYPE),
        Some(MapType::Fields(types)) => {
            out.u32(attr::SET_DATA_TYPE, type_id(types));
            out.u32(attr::SET_DATA_LEN, length(types));
            udata.extend(byte_order(UDATA_DATA_ORDER, types));
        }
    }
    if flags & SET_CONCAT != 0 {
        out.nest(attr::SET_DESC, |out| {
            out.nest(attr::SET_DESC_CONCAT, |out| {
                for kind in &set.key {
                    out.nest(attr::LIST_ELEM, |out| out.u32(attr::SET_FIELD_LEN, kind.padded() as u32));
                }
            });
        });
    }
    out.u32(attr::SET_ID, id);
    if let Some(comment) = &set.comment {
        udata.extend(comment_to_udata(crate::UDATA_SET_COMMENT, comment));
    }
    out.bytes(attr::SET_USERDATA, &udata);
}

/// The attributes of an element message; with `whole` also what deleting does not look at.
pub(crate) fn element_list(out: &mut Writer, table: &Table, set: &str, elements: &[Element], whole: bool) {
    out.string(attr::ELEM_LIST_TABLE, &table.name);
    out.string(attr::ELEM_LIST_SET, set);
    out.nest(attr::ELEM_LIST_ELEMENTS, |out| {
        for element in elements {
            out.nest(attr::LIST_ELEM, |out| one_element(out, element, whole));
            if let Some(last) = &element.to
                && element.key.0.len() == 1
                && let Some(next) = last.after()
            {
                out.nest(attr::LIST_ELEM, |out| {
                    out.nest(attr::ELEM_KEY, |out| out.bytes(attr::DATA_VALUE, &next));
                    out.u32(attr::ELEM_FLAGS, INTERVAL_END);
                });
            }
        }
    });
}

fn one_element(out: &mut Writer, element: &Element, whole: bool) {
    out.nest(attr::ELEM_KEY, |out| out.bytes(attr::DATA_VALUE, &element.key.to_bytes()));
    if let Some(last) = &element.to
        && element.key.0.len() > 1
    {
        out.nest(attr::ELEM_KEY_END, |out| out.bytes(attr::DATA_VALUE, &last.to_bytes()));
    }
    if !whole {
        return;
    }
    match &element.data {
        None => {}
        Some(Data::Value(value)) => {
            out.nest(attr::ELEM_DATA, |out| out.bytes(attr::DATA_VALUE, &value.to_bytes()));
        }
        Some(Data::Verdict(verdict)) => {
            out.nest(attr::ELEM_DATA, |out| expr::encode_verdict(out, verdict));
        }
    }
    if let Some(owner) = &element.owner {
        out.bytes(attr::ELEM_USERDATA, &comment_to_udata(crate::UDATA_COMMENT, owner));
    }
}
