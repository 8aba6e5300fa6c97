//! The node's firewall, whatever it consists of: which parts of it must be told, in which order.

use std::net::IpAddr;

use cni::{Error, ErrorCode};
use iptables::{Family, Programs};
use netlink::Netlink;
use pod::{Owner, drift};

use crate::chains::{self, Wanted};
use crate::config::{Backend, Config};
use crate::errors::Explain;
use crate::firewalld::Firewalld;
use crate::native::Native;
use crate::target::{Fence, Target};

/// What is said where an error is about our own tables.
const NATIVE: &str = "recording the pod's addresses";

/// The node's firewall, to be brought to what `config` says.
pub struct Node<'a> {
    config: &'a Config,
    /// `None` where the kernel has no nf_tables.
    native: Option<Native>,
}

impl<'a> Node<'a> {
    /// Looks at nothing yet but whether there is nf_tables.
    ///
    /// # Errors
    /// The kernel's.
    pub fn open(config: &'a Config) -> Result<Node<'a>, Error> {
        Ok(Node { config, native: Native::open().explain("the node's nf_tables")? })
    }

    /// Lets the pod's traffic through and puts up its fence.
    ///
    /// # Errors
    /// Those of the parts, and that a part the config names is not there.
    pub fn add(&mut self, target: &Target) -> Result<(), Error> {
        let firewalld = self.firewalld()?;
        let recorded = match self.native.as_mut().map(|native| native.add(target)) {
            None => false,
            Some(Err(e)) if e.is_unsupported() && self.config.backend != Some(Backend::Nftables) => false,
            Some(added) => added.explain(NATIVE).map(|()| true)?,
        };
        let told = self.iptables(target, firewalld.as_ref(), recorded)?;
        let _lock = match told.as_slice() {
            [] => None,
            _ => Some(
                iptables::lock(chains::LOCK)
                    .map_err(|e| Error::new(ErrorCode::IO, format!("locking {}: {e}", chains::LOCK)))?,
            ),
        };
        for (family, programs) in told {
            let wanted = wanted(self.config, target, family, recorded)?;
            chains::add(programs, family, &wanted).map_err(|e| not_let_through(&e, family, programs))?;
        }
        if let Some(firewalld) = firewalld {
            firewalld.add(&self.config.zone, &target.addresses).explain("letting the pod through")?;
        }
        Ok(())
    }

    /// Finds what has changed since [`Node::add`].
    ///
    /// # Errors
    /// The first difference.
    pub fn check(&mut self, target: &Target) -> Result<(), Error> {
        let firewalld = self.firewalld()?;
        let found = match self.native.as_mut().map(|native| native.check(target)) {
            None => None,
            Some(Err(e)) if e.is_unsupported() && self.config.backend != Some(Backend::Nftables) => None,
            Some(checked) => Some(checked.explain(NATIVE)?),
        };
        if let Some(Some((what, expected, found))) = found {
            return Err(drift(what, expected, found));
        }
        let recorded = found.is_some();
        for (family, programs) in self.iptables(target, firewalld.as_ref(), recorded)? {
            let wanted = wanted(self.config, target, family, recorded)?;
            if let [first, ..] = &chains::missing(programs, family, &wanted).explain("reading the rules")?[..] {
                let what = format!("the filter table of {}", programs.name(family));
                return Err(drift(what, format_args!("what this adds: {first}"), "nothing like it"));
            }
        }
        if let Some(firewalld) = firewalld
            && let Some(address) = firewalld.missing(&self.config.zone, &target.addresses).explain("asking")?
        {
            let what = format!("firewalld's zone {:?}", self.config.zone);
            return Err(drift(what, format_args!("source {address}"), "not in it"));
        }
        Ok(())
    }

    /// Removes everything whose owner is `gone`. `known` are addresses that those had according to others: what the
    /// reference left for them goes, too, unless another pod has the address by now.
    ///
    /// # Errors
    /// Those of the parts. What is gone already is none.
    pub fn remove(&mut self, known: &[IpAddr], gone: &dyn Fn(&Owner) -> bool) -> Result<(), Error> {
        let recorded =
            self.native.as_mut().map_or(Ok(Vec::new()), Native::addresses).explain("reading whose is what")?;
        let is_anothers = |address: &IpAddr| recorded.iter().any(|held| held.address == *address && !gone(&held.owner));
        let owned = recorded.iter().filter(|held| gone(&held.owner)).map(|held| held.address);
        let mut addresses: Vec<IpAddr> =
            known.iter().copied().filter(|known| !is_anothers(known)).chain(owned).collect();
        addresses.sort();
        addresses.dedup();
        for family in Family::ALL {
            let of_family: Vec<IpAddr> =
                addresses.iter().copied().filter(|address| Family::of(*address) == family).collect();
            chains::remove(family, &of_family, gone).explain("removing the pod's rules")?;
        }
        let may_be_firewalld = matches!(self.config.backend, None | Some(Backend::Firewalld));
        if may_be_firewalld
            && !addresses.is_empty()
            && let Some(firewalld) = Firewalld::connect().explain("removing the pod's addresses")?
        {
            firewalld.remove(&self.config.zone, &addresses).explain("removing the pod's addresses")?;
        }
        // Last: it is what tells which addresses the rest was about.
        self.native.as_mut().map_or(Ok(()), |native| native.remove(gone)).explain("removing the record of addresses")
    }

    /// Removes the fences in iptables whose bridge is not there any more.
    ///
    /// # Errors
    /// The kernel's and iptables'.
    pub fn remove_dead_fences(&self) -> Result<(), Error> {
        let links = Netlink::new().and_then(|host| host.links()).explain("the node's interfaces")?;
        let gone = |bridge: &str| !links.iter().any(|link| link.name == bridge);
        for family in Family::ALL {
            chains::remove_dead_fences(family, &gone).explain("removing fences of bridges that are gone")?;
        }
        Ok(())
    }

    /// Whether an ADD could work.
    ///
    /// # Errors
    /// What is missing.
    pub fn ready(&mut self) -> Result<(), Error> {
        let native = self.native.as_mut().map_or(Ok(false), Native::works).explain("the node's nf_tables")?;
        match self.config.backend {
            Some(Backend::Firewalld) => firewalld().map(drop),
            None | Some(Backend::Nftables) if native => Ok(()),
            Some(Backend::Nftables) => Err(no_nf_tables()),
            None | Some(Backend::Iptables) => chains::usable(Family::V4).explain("the iptables backend"),
        }
    }

    /// firewalld, if it is to be told: where the config says so, or says nothing and it runs.
    fn firewalld(&self) -> Result<Option<Firewalld>, Error> {
        match self.config.backend {
            Some(Backend::Firewalld) => firewalld().map(Some),
            None => Firewalld::connect().explain("looking for firewalld"),
            Some(Backend::Iptables | Backend::Nftables) => Ok(None),
        }
    }

    /// Which programs of iptables are to be told: where the config says so, or the state of the node makes it necessary.
    fn iptables(
        &mut self,
        target: &Target,
        firewalld: Option<&Firewalld>,
        recorded: bool,
    ) -> Result<Vec<(Family, Programs)>, Error> {
        let asked_for = match self.config.backend {
            Some(Backend::Nftables) if !recorded => return Err(no_nf_tables()),
            Some(Backend::Iptables) => true,
            _ if firewalld.is_some() && !recorded && target.fence.is_some() => {
                let msg = "ingressPolicy with firewalld needs nf_tables, which this kernel has not";
                return Err(Error::new(ErrorCode::INTERNAL, msg).with_details("set \"backend\": \"iptables\""));
            }
            None if firewalld.is_none() => !recorded,
            _ => return Ok(Vec::new()),
        };
        let mut families: Vec<Family> = target.addresses.iter().map(|address| Family::of(*address)).collect();
        families.dedup();
        let mut told = Vec::new();
        for family in families {
            let nft = self.native.as_mut().map(Native::nft);
            let programs = if asked_for { chains::asked_for(family, nft) } else { chains::deciding(family, nft) };
            told.extend(programs.into_iter().map(|programs| (family, programs)));
        }
        Ok(told)
    }
}

/// That iptables could not be told, for people.
fn not_let_through(error: &iptables::Error, family: Family, programs: Programs) -> Error {
    match (error, programs) {
        (iptables::Error::Missing { program, path }, Programs::Of(_)) => {
            let msg = format!("letting the pod through: {program} is not to be found in {path}");
            Error::new(ErrorCode::INTERNAL, msg).with_details(format!(
                "rules of {} decide here about what is forwarded, so that only a rule there lets the pod's packets pass: \
                 install its programs, or have its FORWARD chain accept (policy ACCEPT, and no chain CNI-FORWARD)",
                programs.name(family)
            ))
        }
        _ => Error::new(ErrorCode::INTERNAL, format!("letting the pod through: {error}")),
    }
}

fn wanted<'a>(config: &'a Config, target: &'a Target, family: Family, recorded: bool) -> Result<Wanted<'a>, Error> {
    for bridge in target.fence.iter().flat_map(|fence: &Fence| &fence.bridges) {
        // To iptables a '+' at the end stands for any name that begins so.
        if bridge.ends_with('+') || !bridge.chars().all(|c| c.is_ascii_graphic() && !matches!(c, '"' | '\'' | '\\')) {
            let msg = format!("ingressPolicy: iptables cannot tell the bridge {bridge:?} from others");
            return Err(Error::new(ErrorCode::INVALID_CONFIG, msg)
                .with_details("give the bridge a name of letters and digits, or set \"backend\": \"nftables\""));
        }
    }
    let addresses = target.addresses.iter().copied().filter(|address| Family::of(*address) == family).collect();
    let owner = (!recorded).then_some(target.owner.as_str());
    Ok(Wanted { admin: &config.admin_chain, addresses, owner, fence: target.fence.as_ref() })
}

fn firewalld() -> Result<Firewalld, Error> {
    Firewalld::connect().explain("looking for firewalld")?.ok_or_else(|| {
        let msg = "\"backend\" is \"firewalld\", but there is no firewalld on the D-Bus system bus";
        Error::new(ErrorCode::INTERNAL, msg)
            .with_details("start firewalld, or take \"backend\" out of the config to have one chosen that works")
    })
}

fn no_nf_tables() -> Error {
    Error::new(ErrorCode::INTERNAL, "\"backend\" is \"nftables\", but this kernel has no nf_tables of family inet")
        .with_details("load the modules nf_tables and nf_tables_inet, or set \"backend\": \"iptables\"")
}
