//! Transactions: operations that happen together or not at all.

mod encode;
mod text;
mod validate;

pub(crate) use encode::{Batch, Options, element_list};

use crate::{
    chain::Chain,
    rule::Rule,
    set::{Element, Set},
    table::Table,
};

/// Operations for [`Nft::commit`](crate::Nft::commit), done in order, all or none.
///
/// | verb | if the object is there | if it is not |
/// | --- | --- | --- |
/// | `add` | nothing happens (same object), [`Error::Exists`](crate::Error::Exists) (an element with other data) | made |
/// | `create` | [`Error::Exists`](crate::Error::Exists) | made |
/// | `delete` | gone, with what is in it | [`Error::NotFound`](crate::Error::NotFound) |
/// | `destroy` | gone, with what is in it | nothing happens |
///
/// `destroy` also does nothing if the table, chain or set that would hold the object is missing. A chain, set or table
/// that is still referred to (by a jump, a look-up) cannot go: [`Error::Busy`](crate::Error::Busy). Operations may
/// refer to what earlier ones of the same transaction made.
///
/// Shown (`Display`) as `nft` commands, one a line; [`Transaction::to_bytes`] is what would be sent.
///
/// ```no_run
/// use nft::{Chain, ChainType, Element, Family, FieldType, Hook, Rule, Selector, Set, Table, Transaction, priority};
/// const MASQ: Table = Table::new(Family::Inet, "podlink_masq");
/// let mut tx = Transaction::new();
/// tx.add_table(&MASQ)
///     .add_set(&MASQ, Set::new("pods4", [FieldType::Ipv4Addr]))
///     .add_chain(&MASQ, Chain::base("post", ChainType::Nat, Hook::Postrouting, priority::SRCNAT))
///     .add_rule(&MASQ, "post", Rule::new().in_set(&[Selector::IpSaddr], "pods4").masquerade(0))
///     .add_element(&MASQ, "pods4", Element::new(std::net::Ipv4Addr::new(10, 1, 2, 3)).owner("net/c1/eth0"));
/// assert!(tx.to_string().ends_with("add element inet podlink_masq pods4 { 10.1.2.3 comment \"net/c1/eth0\" }\n"));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Transaction {
    operations: Vec<Operation>,
    generation: Option<u32>,
}

/// What becomes of the removal of something that is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Removal {
    /// An error.
    Delete,
    /// Nothing.
    Destroy,
}

/// Where a rule goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Last,
    First,
    Instead(u64),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Operation {
    AddTable { table: Table, exclusive: bool },
    RemoveTable { table: Table, removal: Removal },
    AddChain { table: Table, chain: Chain, exclusive: bool },
    RemoveChain { table: Table, chain: String, removal: Removal },
    FlushChain { table: Table, chain: String },
    AddRule { table: Table, chain: String, rule: Rule, place: Place },
    RemoveRule { table: Table, chain: String, handle: u64, removal: Removal },
    AddSet { table: Table, set: Set, exclusive: bool },
    RemoveSet { table: Table, set: String, removal: Removal },
    FlushSet { table: Table, set: String },
    AddElements { table: Table, set: String, elements: Vec<Element>, exclusive: bool },
    RemoveElements { table: Table, set: String, elements: Vec<Element>, removal: Removal },
}

impl Transaction {
    /// A transaction that does nothing.
    pub fn new() -> Transaction {
        Transaction::default()
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }

    /// How many operations there are.
    pub fn len(&self) -> usize {
        self.operations.len()
    }

    fn push(&mut self, operation: Operation) -> &mut Transaction {
        self.operations.push(operation);
        self
    }

    /// Commits only if the rules are still those of this generation ([`Nft::generation`](crate::Nft::generation)), else
    /// fails with [`Error::Changed`](crate::Error::Changed). Any change in the namespace counts, also by others.
    pub fn if_generation(&mut self, generation: u32) -> &mut Transaction {
        self.generation = Some(generation);
        self
    }

    /// Adds a table.
    pub fn add_table(&mut self, table: &Table) -> &mut Transaction {
        self.push(Operation::AddTable { table: table.clone(), exclusive: false })
    }

    /// Creates a table that must not exist.
    pub fn create_table(&mut self, table: &Table) -> &mut Transaction {
        self.push(Operation::AddTable { table: table.clone(), exclusive: true })
    }

    /// Deletes a table with everything in it.
    pub fn delete_table(&mut self, table: &Table) -> &mut Transaction {
        self.push(Operation::RemoveTable { table: table.clone(), removal: Removal::Delete })
    }

    /// Deletes a table with everything in it, if it is there.
    pub fn destroy_table(&mut self, table: &Table) -> &mut Transaction {
        self.push(Operation::RemoveTable { table: table.clone(), removal: Removal::Destroy })
    }

    /// Adds a chain. One that is there keeps its rules and gets this policy; a base chain that is there with another
    /// type, hook or priority is [`Error::Exists`](crate::Error::Exists).
    pub fn add_chain(&mut self, table: &Table, chain: Chain) -> &mut Transaction {
        self.push(Operation::AddChain { table: table.clone(), chain, exclusive: false })
    }

    /// Creates a chain that must not exist.
    pub fn create_chain(&mut self, table: &Table, chain: Chain) -> &mut Transaction {
        self.push(Operation::AddChain { table: table.clone(), chain, exclusive: true })
    }

    /// Deletes a chain with its rules.
    pub fn delete_chain(&mut self, table: &Table, chain: impl Into<String>) -> &mut Transaction {
        self.push(Operation::RemoveChain { table: table.clone(), chain: chain.into(), removal: Removal::Delete })
    }

    /// Deletes a chain with its rules, if it is there.
    pub fn destroy_chain(&mut self, table: &Table, chain: impl Into<String>) -> &mut Transaction {
        self.push(Operation::RemoveChain { table: table.clone(), chain: chain.into(), removal: Removal::Destroy })
    }

    /// Deletes all rules of a chain. With rules added behind it in the same transaction, packets see the old rules or
    /// the new, never none.
    pub fn flush_chain(&mut self, table: &Table, chain: impl Into<String>) -> &mut Transaction {
        self.push(Operation::FlushChain { table: table.clone(), chain: chain.into() })
    }

    /// Adds a rule behind those of the chain. There is no "already there": two adds make two rules.
    pub fn add_rule(&mut self, table: &Table, chain: impl Into<String>, rule: Rule) -> &mut Transaction {
        self.push(Operation::AddRule { table: table.clone(), chain: chain.into(), rule, place: Place::Last })
    }

    /// Adds a rule before those of the chain.
    pub fn insert_rule(&mut self, table: &Table, chain: impl Into<String>, rule: Rule) -> &mut Transaction {
        self.push(Operation::AddRule { table: table.clone(), chain: chain.into(), rule, place: Place::First })
    }

    /// Puts a rule in the place of another ([`RuleInfo::handle`](crate::RuleInfo::handle)).
    pub fn replace_rule(
        &mut self,
        table: &Table,
        chain: impl Into<String>,
        handle: u64,
        rule: Rule,
    ) -> &mut Transaction {
        self.push(Operation::AddRule { table: table.clone(), chain: chain.into(), rule, place: Place::Instead(handle) })
    }

    /// Deletes a rule.
    pub fn delete_rule(&mut self, table: &Table, chain: impl Into<String>, handle: u64) -> &mut Transaction {
        let (table, chain) = (table.clone(), chain.into());
        self.push(Operation::RemoveRule { table, chain, handle, removal: Removal::Delete })
    }

    /// Deletes a rule, if it is there.
    pub fn destroy_rule(&mut self, table: &Table, chain: impl Into<String>, handle: u64) -> &mut Transaction {
        let (table, chain) = (table.clone(), chain.into());
        self.push(Operation::RemoveRule { table, chain, handle, removal: Removal::Destroy })
    }

    /// Adds a set or map. One that is there must be of the same types, else [`Error::Exists`](crate::Error::Exists)
    /// (kernels before 6.2 do not look).
    pub fn add_set(&mut self, table: &Table, set: Set) -> &mut Transaction {
        self.push(Operation::AddSet { table: table.clone(), set, exclusive: false })
    }

    /// Creates a set or map that must not exist.
    pub fn create_set(&mut self, table: &Table, set: Set) -> &mut Transaction {
        self.push(Operation::AddSet { table: table.clone(), set, exclusive: true })
    }

    /// Deletes a set or map with its elements.
    pub fn delete_set(&mut self, table: &Table, set: impl Into<String>) -> &mut Transaction {
        self.push(Operation::RemoveSet { table: table.clone(), set: set.into(), removal: Removal::Delete })
    }

    /// Deletes a set or map with its elements, if it is there.
    pub fn destroy_set(&mut self, table: &Table, set: impl Into<String>) -> &mut Transaction {
        self.push(Operation::RemoveSet { table: table.clone(), set: set.into(), removal: Removal::Destroy })
    }

    /// Deletes all elements of a set or map.
    pub fn flush_set(&mut self, table: &Table, set: impl Into<String>) -> &mut Transaction {
        self.push(Operation::FlushSet { table: table.clone(), set: set.into() })
    }

    /// Adds an element. If the key is there with the same data nothing happens, and the element keeps its owner; with
    /// other data it is [`Error::Exists`](crate::Error::Exists) ([`Nft::element`](crate::Nft::element) tells whose it
    /// is).
    pub fn add_element(&mut self, table: &Table, set: impl Into<String>, element: Element) -> &mut Transaction {
        self.add_elements(table, set, vec![element])
    }

    /// Adds elements.
    pub fn add_elements(&mut self, table: &Table, set: impl Into<String>, elements: Vec<Element>) -> &mut Transaction {
        self.push(Operation::AddElements { table: table.clone(), set: set.into(), elements, exclusive: false })
    }

    /// Creates elements none of whose keys may be there, also not with the same data.
    pub fn create_elements(
        &mut self,
        table: &Table,
        set: impl Into<String>,
        elements: Vec<Element>,
    ) -> &mut Transaction {
        self.push(Operation::AddElements { table: table.clone(), set: set.into(), elements, exclusive: true })
    }

    /// Deletes elements by their keys.
    pub fn delete_elements(
        &mut self,
        table: &Table,
        set: impl Into<String>,
        elements: Vec<Element>,
    ) -> &mut Transaction {
        let (table, set) = (table.clone(), set.into());
        self.push(Operation::RemoveElements { table, set, elements, removal: Removal::Delete })
    }

    /// Deletes elements by their keys, those that are there.
    pub fn destroy_elements(
        &mut self,
        table: &Table,
        set: impl Into<String>,
        elements: Vec<Element>,
    ) -> &mut Transaction {
        let (table, set) = (table.clone(), set.into());
        self.push(Operation::RemoveElements { table, set, elements, removal: Removal::Destroy })
    }

    /// Deletes one element by its key: `delete_element(&MASQ, "pods4", address)`.
    pub fn delete_element(
        &mut self,
        table: &Table,
        set: impl Into<String>,
        key: impl Into<crate::Key>,
    ) -> &mut Transaction {
        self.delete_elements(table, set, vec![Element::new(key)])
    }

    /// Deletes one element by its key, if it is there.
    pub fn destroy_element(
        &mut self,
        table: &Table,
        set: impl Into<String>,
        key: impl Into<crate::Key>,
    ) -> &mut Transaction {
        self.destroy_elements(table, set, vec![Element::new(key)])
    }

    /// The netlink messages a commit sends on a current kernel, with sequence numbers from 0.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.encode(&Options::default()).bytes
    }
}

#[cfg(test)]
mod tests;
