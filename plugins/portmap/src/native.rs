//! The native backend: one table, in which each port of a pod is an element.
//!
//! Rules never change; a packet costs the same with one port mapped as with thousands, and so do ADD and DEL. Each element
//! tells its owner in its comment. Nothing is looked for before it is made: the kernel refuses what is there already, and
//! only then is there something to read.

mod check;
mod claims;
mod gates;
mod gc;
mod layout;
mod record;
mod store;

pub use check::check;
pub use gc::gc;
pub use record::Record;
pub use store::{Refused, add, own_ports, refuse_held, remove};

use nft::{Element, Key, Value};

use crate::conditions::Conditions;
use crate::mapping::Mapping;
use record::{hairpin, itself};

/// What masquerading a pod wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Masquerade {
    /// None.
    No,
    /// Where a connection could not work without.
    Needed,
    /// Of every connection.
    All,
}

/// What an attachment is to have.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Its owner, as it stands in comments.
    pub tag: String,
    /// Its host ports.
    pub mappings: Vec<Mapping>,
    /// What is masqueraded.
    pub masquerade: Masquerade,
    /// The node's interface to the pod's IPv4 and IPv6 addresses, where they are on its link.
    pub via: [Option<String>; 2],
    /// What IPv4 and IPv6 connections to its ports go by, if by anything.
    pub conditions: [Option<Conditions>; 2],
}

impl Wanted {
    fn via(&self, mapping: &Mapping) -> &str {
        let [v4, v6] = &self.via;
        let via = if mapping.target.is_ipv4() { v4 } else { v6 };
        via.as_deref().unwrap_or_default()
    }

    /// The chains of its conditions.
    fn gates(&self) -> Vec<gates::Gate> {
        let of_family = |v4: bool| self.mappings.iter().any(|mapping| mapping.target.is_ipv4() == v4);
        let families = [true, false].into_iter().zip(&self.conditions).filter(|(v4, _)| of_family(*v4));
        families.filter_map(|(v4, conditions)| Some(gates::Gate::of(conditions.as_ref()?, v4))).collect()
    }

    fn records(&self) -> Vec<Record> {
        self.mappings.iter().map(|mapping| Record::of(mapping, self.via(mapping))).collect()
    }

    /// The elements that must be there, but for the claims.
    fn elements(&self) -> Vec<(&'static str, Element)> {
        let mut elements: Vec<(&'static str, Element)> = Vec::new();
        let mut pods: Vec<(&'static str, Key)> = Vec::new();
        for (mapping, record) in self.mappings.iter().zip(self.records()) {
            let (map, key) = record.port_key();
            let target = [Value::from(mapping.target.ip()), Value::Port(mapping.target.port())];
            elements.push((map, Element::new(key).value(target).owner(&self.tag)));
            let v4 = mapping.target.is_ipv4();
            let [conditions_v4, conditions_v6] = &self.conditions;
            let conditions = if v4 { conditions_v4 } else { conditions_v6 };
            elements.extend(conditions.as_ref().map(|conditions| gates::element(&record, conditions, &self.tag)));
            let mut pod = |set: &'static str, key: Key| {
                if !pods.contains(&(set, key.clone())) {
                    pods.push((set, key));
                }
            };
            match self.masquerade {
                Masquerade::No => {}
                Masquerade::All => pod(layout::all_set(v4), record.pod.into()),
                Masquerade::Needed => {
                    let (set, key) = itself(record.pod);
                    pod(set, key);
                    if !record.via.is_empty() {
                        let (set, key) = hairpin(&record.via, record.pod);
                        pod(set, key);
                        if v4 {
                            pod(layout::LOCAL, record.pod.into());
                        }
                    }
                }
            }
        }
        elements.extend(pods.into_iter().map(|(set, key)| (set, Element::new(key).owner(&self.tag))));
        let entries = self.records();
        elements.extend(entries.iter().zip(0..).map(|(record, number)| record.entry(number, &self.tag)));
        elements
    }
}

#[cfg(test)]
mod tests;
