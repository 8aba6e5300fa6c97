//! Whose an interface on the node is: told by its name and its alias alone.

use std::hash::Hasher;

use cni::{Attachment, AttachmentCall};
use siphasher::sip::SipHasher13;

/// What begins the alias of every interface of ours.
const MARK: &str = "podlink:";
/// What fits both an interface's alias (255, `IFALIASZ`) and the comment of an nf_tables element (250).
const MAX_ALIAS: usize = 250;

/// An attachment of a network, as the owner of an interface on the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The network's name.
    pub network: String,
    /// The pod interface at the other end.
    pub attachment: Attachment,
}

impl Owner {
    /// Whom a call is about.
    pub fn of(call: &AttachmentCall) -> Owner {
        Owner { network: call.network.config.name.clone(), attachment: call.attachment.clone() }
    }

    /// The name of the host's end of the pod's veth pair: `veth` and eleven hex digits that follow from the owner.
    ///
    /// So DEL finds it with no namespace and no record of it, and a second ADD of the same attachment, however close
    /// in time, is refused by the kernel. At 44 bits, two of 1,000 pods share a name once in 35 million nodes; the alias
    /// then tells them apart.
    pub fn host_name(&self) -> String {
        format!("veth{:011x}", self.number())
    }

    /// The number in that name, of 44 bits.
    pub(crate) fn number(&self) -> u64 {
        let mut hasher = SipHasher13::new();
        for part in [&self.network, &self.attachment.container_id, &self.attachment.ifname] {
            hasher.write(part.as_bytes());
            // No name has a zero byte in it, so no two owners run together.
            hasher.write(&[0]);
        }
        hasher.finish() >> 20
    }

    /// The text for the interface's alias, for `ip link` and for GC. `None` where the names are too long for one.
    pub fn alias(&self) -> Option<String> {
        let Attachment { container_id, ifname } = &self.attachment;
        Some(format!("{MARK}{}/{container_id}/{ifname}", self.network)).filter(|alias| alias.len() <= MAX_ALIAS)
    }

    /// The alias, or where the names are too long for one, what at least tells this owner from others.
    pub fn label(&self) -> String {
        self.alias().unwrap_or_else(|| format!("{MARK}{}", self.host_name()))
    }

    /// Reads an alias back; `None` for an interface that is not ours. None of the three names can have a `/` in it.
    pub fn from_alias(alias: &str) -> Option<Owner> {
        let mut parts = alias.strip_prefix(MARK)?.split('/');
        let mut next = || parts.next().filter(|part| !part.is_empty()).map(str::to_owned);
        let owner = Owner { network: next()?, attachment: Attachment { container_id: next()?, ifname: next()? } };
        parts.next().is_none().then_some(owner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(network: &str, container_id: &str, ifname: &str) -> Owner {
        let attachment = Attachment { container_id: container_id.to_owned(), ifname: ifname.to_owned() };
        Owner { network: network.to_owned(), attachment }
    }

    #[test]
    fn the_name_is_stable_fits_and_tells_owners_apart() {
        // A changed value here would strand the interfaces of every running pod on an upgrade.
        assert_eq!(owner("net", "c1", "eth0").host_name(), "veth221f94103cb");
        let names = [("net", "c1", "eth0"), ("net", "c1", "eth1"), ("net", "c1e", "th0"), ("ne", "tc1", "eth0")];
        let mut names: Vec<_> = names.iter().map(|(n, c, i)| owner(n, c, i).host_name()).collect();
        assert!(names.iter().all(|name| name.len() == 15));
        names.sort();
        names.dedup();
        assert_eq!(names.len(), 4);
    }

    #[test]
    fn an_alias_reads_back() {
        let ours = owner("net", "c1", "eth0");
        assert_eq!(Owner::from_alias(&ours.alias().unwrap()), Some(ours));
        assert_eq!(owner(&"n".repeat(300), "c1", "eth0").alias(), None);
        for foreign in ["", "uplink", "podlink:", "podlink:a/b", "podlink:a/b/", "podlink:a/b/c/d", "podlink:/b/c"] {
            assert_eq!(Owner::from_alias(foreign), None, "{foreign}");
        }
    }
}
