//! Transactions as `nft` commands.

use std::fmt::{self, Write as _};

use super::{Operation, Place, Removal, Transaction};

/// Elements shown of one operation in an error, before only their number is told.
const SHOWN: usize = 3;

fn adding(exclusive: bool) -> &'static str {
    if exclusive { "create" } else { "add" }
}

fn removing(removal: Removal) -> &'static str {
    match removal {
        Removal::Delete => "delete",
        Removal::Destroy => "destroy",
    }
}

fn listed<T: fmt::Display>(elements: &[T], most: usize) -> String {
    let mut text = elements.iter().take(most).map(T::to_string).collect::<Vec<_>>().join(", ");
    if elements.len() > most {
        let _ = write!(text, ", … {} more", elements.len() - most);
    }
    text
}

impl Operation {
    /// The command, with at most `most` elements; with `only` that element alone.
    pub(crate) fn text(&self, most: usize, only: Option<usize>) -> String {
        let elements = |elements: &[crate::Element]| match only.and_then(|index| elements.get(index)) {
            Some(element) => element.to_string(),
            None => listed(elements, most),
        };
        match self {
            Operation::AddTable { table, exclusive } => format!("{} table {table}", adding(*exclusive)),
            Operation::RemoveTable { table, removal } => format!("{} table {table}", removing(*removal)),
            Operation::AddChain { table, chain, exclusive } => format!("{} chain {table} {chain}", adding(*exclusive)),
            Operation::RemoveChain { table, chain, removal } => {
                format!("{} chain {table} {chain}", removing(*removal))
            }
            Operation::FlushChain { table, chain } => format!("flush chain {table} {chain}"),
            Operation::AddRule { table, chain, rule, place } => match place {
                Place::Last => format!("add rule {table} {chain} {rule}"),
                Place::First => format!("insert rule {table} {chain} {rule}"),
                Place::Instead(handle) => format!("replace rule {table} {chain} handle {handle} {rule}"),
            },
            Operation::RemoveRule { table, chain, handle, removal } => {
                format!("{} rule {table} {chain} handle {handle}", removing(*removal))
            }
            Operation::AddSet { table, set, exclusive } => {
                format!("{} {} {table} {set}", adding(*exclusive), set.word())
            }
            Operation::RemoveSet { table, set, removal } => format!("{} set {table} {set}", removing(*removal)),
            Operation::FlushSet { table, set } => format!("flush set {table} {set}"),
            Operation::AddElements { table, set, elements: all, exclusive } => {
                format!("{} element {table} {set} {{ {} }}", adding(*exclusive), elements(all))
            }
            Operation::RemoveElements { table, set, elements: all, removal } => {
                format!("{} element {table} {set} {{ {} }}", removing(*removal), elements(all))
            }
        }
    }

    /// For errors.
    pub(crate) fn brief(&self, element: Option<usize>) -> String {
        self.text(SHOWN, element)
    }
}

impl fmt::Display for Transaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for operation in &self.operations {
            writeln!(f, "{}", operation.text(usize::MAX, None))?;
        }
        Ok(())
    }
}

impl Transaction {
    /// What a commit does, in a few words for an error that is about all of it.
    pub(crate) fn brief(&self) -> String {
        match self.operations.as_slice() {
            [] => "do nothing".to_owned(),
            [single] => single.brief(None),
            [first, ..] => format!("commit {} operations, the first of which is: {}", self.len(), first.brief(None)),
        }
    }
}
