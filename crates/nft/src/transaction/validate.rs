//! What can be seen to be wrong before anything is sent.

use super::{Operation, Transaction};
use crate::{
    MAX_COMMENT,
    error::Error,
    set::{Data, Element, MapType, Set},
    table::Table,
    value::{FieldType, Key, Value},
};

/// `NFT_NAME_MAXLEN` without the terminating zero.
const MAX_NAME: usize = 255;
/// `IFNAMSIZ` without the terminating zero.
const MAX_IFNAME: usize = 15;
/// `NFT_DATA_VALUE_MAXLEN`.
const MAX_KEY: usize = 64;

type Check = Result<(), String>;

fn name(what: &str, name: &str) -> Check {
    match name {
        "" => Err(format!("the {what} has no name")),
        name if name.contains('\0') => Err(format!("the {what}'s name {name:?} contains a zero byte")),
        name if name.len() > MAX_NAME => {
            Err(format!("the {what}'s name is {} bytes long, at most {MAX_NAME} are allowed", name.len()))
        }
        _ => Ok(()),
    }
}

fn comment(what: &str, comment: Option<&str>) -> Check {
    match comment {
        Some(text) if text.len() > MAX_COMMENT => {
            Err(format!("the {what} is {} bytes long, at most {MAX_COMMENT} are allowed", text.len()))
        }
        Some(text) if text.contains('\0') => Err(format!("the {what} {text:?} contains a zero byte")),
        _ => Ok(()),
    }
}

fn types(what: &str, types: &[FieldType]) -> Check {
    let length: usize = types.iter().map(|kind| kind.padded()).sum();
    match length {
        0 => Err(format!("the {what} has no fields")),
        length if length > MAX_KEY => Err(format!("the {what} is {length} bytes long, at most {MAX_KEY} are allowed")),
        _ => Ok(()),
    }
}

fn key(key: &Key) -> Check {
    if key.0.is_empty() {
        return Err("an element has an empty key or value".to_owned());
    }
    for value in &key.0 {
        if let Value::IfName(name) = value
            && (name.is_empty() || name.len() > MAX_IFNAME || name.contains('\0'))
        {
            return Err(format!("{name:?} cannot name an interface (1 to {MAX_IFNAME} bytes)"));
        }
    }
    Ok(())
}

fn element(element: &Element) -> Check {
    key(&element.key)?;
    if let Some(last) = &element.to {
        key(last)?;
        if element.key.0.iter().any(|value| value.field_type().is_host_order()) {
            return Err(format!("{} cannot start a range: its bytes do not sort as its values do", element.key));
        }
    }
    if let Some(Data::Value(value)) = &element.data {
        key(value)?;
    }
    if let Some(Data::Verdict(verdict)) = &element.data {
        verdict.chain().map_or(Ok(()), |chain| name("chain of the verdict", chain))?;
    }
    comment("owner", element.owner.as_deref())
}

fn set(set: &Set) -> Check {
    name("set", &set.name)?;
    types("key", &set.key)?;
    if let Some(MapType::Fields(fields)) = &set.data {
        types("map's data", fields)?;
    }
    comment("comment", set.comment.as_deref())
}

impl Operation {
    fn table(&self) -> &Table {
        match self {
            Operation::AddTable { table, .. }
            | Operation::RemoveTable { table, .. }
            | Operation::AddChain { table, .. }
            | Operation::RemoveChain { table, .. }
            | Operation::FlushChain { table, .. }
            | Operation::AddRule { table, .. }
            | Operation::RemoveRule { table, .. }
            | Operation::AddSet { table, .. }
            | Operation::RemoveSet { table, .. }
            | Operation::FlushSet { table, .. }
            | Operation::AddElements { table, .. }
            | Operation::RemoveElements { table, .. } => table,
        }
    }

    fn check(&self) -> Check {
        name("table", &self.table().name)?;
        match self {
            Operation::AddTable { .. } | Operation::RemoveTable { .. } => Ok(()),
            Operation::AddChain { chain, .. } => {
                name("chain", &chain.name)?;
                comment("comment", chain.comment.as_deref())
            }
            Operation::RemoveChain { chain, .. }
            | Operation::FlushChain { chain, .. }
            | Operation::RemoveRule { chain, .. } => name("chain", chain),
            Operation::AddRule { chain, rule, .. } => {
                name("chain", chain)?;
                rule.mistake().map_or(Ok(()), |mistake| Err(mistake.to_owned()))?;
                comment("comment", rule.comment_text())
            }
            Operation::AddSet { set: new, .. } => set(new),
            Operation::RemoveSet { set, .. } | Operation::FlushSet { set, .. } => name("set", set),
            Operation::AddElements { set, elements, .. } | Operation::RemoveElements { set, elements, .. } => {
                name("set", set)?;
                elements.iter().try_for_each(element)
            }
        }
    }
}

impl Transaction {
    /// Finds what could not even be written into a message.
    pub(crate) fn validate(&self) -> Result<(), Error> {
        self.operations.iter().try_for_each(|operation| {
            operation.check().map_err(|reason| Error::Invalid { operation: operation.brief(None), reason })
        })
    }
}
