//! What an ADD asks for, out of its config and the result of the plugins before.

use cni::{Attachment, AttachmentCall, CniResult, Error, ErrorCode};
use iptables::{Family, Programs};
use netlink::Netlink;
use nft::Nft;
use pod::{Explain, Owner};

use crate::chains::Chains;
use crate::config::Config;
use crate::errors::{self, kernel};
use crate::mapping::{Mapping, PodAddresses};
use crate::native::{self, Masquerade, Refused, Wanted};
use crate::{localnet, reference};

/// What an ADD asks for.
pub struct Request<'a> {
    /// The config.
    pub config: &'a Config,
    /// The network's name.
    pub network: String,
    /// The attachment.
    pub attachment: &'a Attachment,
    tag: String,
    addresses: PodAddresses,
    /// Its host ports, one for each address family.
    pub mappings: Vec<Mapping>,
    /// The node's interface to the pod's IPv4 and IPv6 addresses, where something is masqueraded.
    via: [Option<String>; 2],
}

impl<'a> Request<'a> {
    /// `None` where there is nothing to map.
    ///
    /// # Errors
    /// Code 7 for what cannot be mapped for this pod, or the kernel's.
    pub fn of(call: &'a AttachmentCall, config: &'a Config, result: &CniResult) -> Result<Option<Request<'a>>, Error> {
        if config.ports.is_empty() {
            return Ok(None);
        }
        let network = call.network.config.name.clone();
        let addresses = PodAddresses::of(result, &call.attachment);
        let mappings = addresses.map(&config.ports).map_err(|e| e.context(format_args!("network {network:?}")))?;
        if mappings.is_empty() {
            // As the reference has it: of a pod's networks, some have addresses and some have not.
            cni::note(format_args!("network {network:?}: {} has no address for its ports", call.attachment));
            return Ok(None);
        }
        let tag = Owner::of(call).alias().filter(|tag| tag.len() <= nft::MAX_COMMENT).ok_or_else(|| {
            let msg =
                format!("network {network:?}: {}: the names are too long for a comment of 253 bytes", call.attachment);
            Error::new(ErrorCode::INVALID_CONFIG, msg)
        })?;
        let via = if config.snat { via(&addresses)? } else { [None, None] };
        Ok(Some(Request { config, network, attachment: &call.attachment, tag, addresses, mappings, via }))
    }

    /// For the native backend.
    pub fn wanted(&self) -> Wanted {
        let masquerade = match (self.config.snat, self.config.masq_all) {
            (false, _) => Masquerade::No,
            (true, false) => Masquerade::Needed,
            (true, true) => Masquerade::All,
        };
        Wanted {
            tag: self.tag.clone(),
            mappings: self.mappings.clone(),
            masquerade,
            via: self.via.clone(),
            conditions: self.config.conditions.clone(),
        }
    }

    /// For the iptables backend.
    pub fn chains(&self) -> Chains<'_> {
        Chains {
            config: self.config,
            network: &self.network,
            container_id: &self.attachment.container_id,
            addresses: &self.addresses,
            mappings: &self.mappings,
        }
    }

    /// The interface by which answers to connections from 127.0.0.1 come.
    pub fn localnet(&self) -> Option<&str> {
        let maps_v4 = self.mappings.iter().any(|mapping| mapping.target.is_ipv4());
        self.via[0].as_deref().filter(|_| maps_v4)
    }

    /// Lets these answers in.
    ///
    /// # Errors
    /// The system's.
    pub fn open_localnet(&self) -> Result<(), Error> {
        self.localnet().map_or(Ok(()), localnet::open)
    }

    /// Lets go of a port that the same container has through another of its networks: runtimes ask for a container's ports on
    /// each, and the first has them already.
    ///
    /// # Errors
    /// Any other refusal.
    pub fn leave_to_own_container(&self, wanted: &mut Wanted, refused: Refused) -> Result<(), Error> {
        match refused {
            Refused::Held(held) if held.container_id().as_deref() == Some(&self.attachment.container_id) => {
                wanted.mappings.retain(|mapping| *mapping != held.wanted);
                Ok(())
            }
            refused => Err(self.explain(refused)),
        }
    }

    /// What is wanted, less what the same container has through another of its networks.
    ///
    /// # Errors
    /// That another container has one of the ports, or the kernel's.
    pub fn available(&self, nft: &mut Nft) -> Result<Wanted, Error> {
        let mut wanted = self.wanted();
        loop {
            match native::refuse_held(nft, &wanted) {
                Ok(()) => return Ok(wanted),
                Err(refused) => self.leave_to_own_container(&mut wanted, refused)?,
            }
        }
    }

    /// Refuses what another container has from the Go reference, in chains of iptables or in its own nf_tables tables; not in
    /// chains that `knows` is true for. One query where there is nothing of the kind.
    ///
    /// # Errors
    /// Whose it is, or the kernel's or iptables'.
    pub fn refuse_held_elsewhere(&self, nft: &mut Nft, knows: impl Fn(Family, Programs) -> bool) -> Result<(), Error> {
        let tables = match nft.tables(None) {
            Err(error) if error.is_unsupported() => Vec::new(),
            tables => tables.map_err(kernel)?,
        };
        let container_id = &self.attachment.container_id;
        reference::refuse_held(nft, &tables, &self.network, container_id, &self.mappings)?;
        self.chains().refuse_held_here(nft, &tables, knows)
    }

    /// A refusal for people.
    pub fn explain(&self, refused: Refused) -> Error {
        match refused {
            Refused::Kernel(error) => kernel(error).context(format_args!("network {:?}", self.network)),
            Refused::Held(held) => {
                let record = &held.record;
                let what = match record.host_ip {
                    Some(address) => format!("of {address}, to {}", record.pod),
                    None => format!("of every address, to {}", record.pod),
                };
                errors::held(&self.network, &held.wanted.to_string(), &held.owner, &what)
            }
        }
    }
}

/// The node's interfaces to the pod's addresses.
fn via(addresses: &PodAddresses) -> Result<[Option<String>; 2], Error> {
    let host = Netlink::new().explain("the node's network namespace")?;
    let to = |address: Option<cni::Cidr>| {
        let doing = "the way to the pod";
        let way = address.map(|address| host.way_to(address.ip())).transpose().explain(doing)?.flatten();
        let Some(index) = way.and_then(|way| way.on_link) else { return Ok::<_, Error>(None) };
        Ok(host.link(index).explain(doing)?.map(|link| link.name))
    };
    Ok([to(addresses.v4)?, to(addresses.v6)?])
}
