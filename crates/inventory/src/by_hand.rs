//! Releasing addresses because an operator says so.

use std::net::IpAddr;

use crate::collect::{Dead, Removal, Run, Thing, lock_all, remove_one};
use crate::error::Error;
use crate::network::{Network, Places, ReadPool};
use crate::survey::{Held, Survey};

/// Which addresses of a network are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selector {
    /// This one.
    Address(IpAddr),
    /// Those of a container, of all its interfaces where none is named.
    Container {
        /// The container ID.
        container_id: String,
        /// The interface.
        ifname: Option<String>,
    },
}

impl Selector {
    /// Reads `10.1.0.2`, `<container ID>` or `<container ID>/<ifname>`.
    pub fn parse(text: &str) -> Selector {
        if let Ok(address) = text.parse() {
            return Selector::Address(address);
        }
        let (container_id, ifname) = match text.split_once('/') {
            Some((container_id, ifname)) => (container_id, Some(ifname.to_owned())),
            None => (text, None),
        };
        Selector::Container { container_id: container_id.to_owned(), ifname }
    }

    /// Whether a reservation is meant.
    pub fn matches(&self, held: &Held) -> bool {
        match self {
            Selector::Address(address) => held.reservation.address == *address,
            Selector::Container { container_id, ifname } => {
                let (of, on) = held.holder();
                of == container_id && ifname.as_deref().is_none_or(|ifname| ifname == on)
            }
        }
    }
}

/// Releases addresses of one network by hand. Without `force` only those that nothing speaks for.
///
/// # Errors
/// See [`Error`]; [`Error::NoNetwork`].
pub fn release(
    places: &Places,
    read: ReadPool,
    network: &str,
    which: &Selector,
    force: bool,
) -> Result<Vec<Removal>, Error> {
    let first = Survey::take(places, read, None)?;
    let mut known: Vec<String> = first.networks.iter().map(|(of, _)| of.name.clone()).collect();
    known.dedup();
    if !known.iter().any(|name| name == network) {
        return Err(Error::NoNetwork { network: network.to_owned(), known });
    }
    let _locks = lock_all(&first, network)?;
    let now = Survey::take(places, read, Some(network))?;
    let meant = now.addresses().filter(|(_, held)| which.matches(held));
    Ok(meant.map(|(of, held)| release_one(of, held, force)).collect())
}

fn release_one(network: &Network, held: &Held, force: bool) -> Removal {
    let (container_id, ifname) = held.holder();
    let reservation = &held.reservation;
    let dead = Dead {
        thing: Thing::Address { address: reservation.address, file: reservation.file.clone() },
        network: network.name.clone(),
        container_id: container_id.to_owned(),
        ifname: ifname.to_owned(),
        judgement: held.judgement.clone(),
    };
    let signs = &held.judgement.signs;
    let outcome = if signs.is_empty() || force {
        remove_one(&dead, &|_, _, _| Ok(()), &mut Run::new())
    } else {
        let signs: Vec<_> = signs.iter().map(ToString::to_string).collect();
        Err(format!("not released: {}; --force releases it all the same", signs.join("; ")))
    };
    Removal { dead, outcome }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_read_as_people_write_them() {
        assert_eq!(Selector::parse("10.1.0.2"), Selector::Address([10, 1, 0, 2].into()));
        assert!(matches!(Selector::parse("fd00::2"), Selector::Address(_)));
        let container = |ifname: Option<&str>| Selector::Container {
            container_id: "c1".to_owned(),
            ifname: ifname.map(str::to_owned),
        };
        assert_eq!(Selector::parse("c1"), container(None));
        assert_eq!(Selector::parse("c1/eth0"), container(Some("eth0")));
    }
}
