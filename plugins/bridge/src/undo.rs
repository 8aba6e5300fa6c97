//! A failed ADD leaves nothing: what it made is taken back when it goes out of scope.

use cni::Delegate;
use netlink::Netlink;
use pod::Owner;

use crate::rules;

/// What an ADD has made so far. Dropped without [`Undo::disarm`] (an error, a panic), it removes it again.
pub struct Undo<'a> {
    host: &'a Netlink,
    owner: &'a Owner,
    link: Option<String>,
    rules: bool,
    address: Option<&'a Delegate<'a>>,
}

impl<'a> Undo<'a> {
    /// Nothing made yet.
    pub fn new(host: &'a Netlink, owner: &'a Owner) -> Undo<'a> {
        Undo { host, owner, link: None, rules: false, address: None }
    }

    /// The veth pair was made; its host end is called `name`.
    pub fn link(&mut self, name: &str) {
        self.link = Some(name.to_owned());
    }

    /// Rules are being made.
    pub fn rules(&mut self) {
        self.rules = true;
    }

    /// The IPAM plugin reserved addresses.
    pub fn address(&mut self, ipam: &'a Delegate<'a>) {
        self.address = Some(ipam);
    }

    /// The ADD succeeded: all of it stays.
    pub fn disarm(mut self) {
        self.link = None;
        self.rules = false;
        self.address = None;
    }
}

impl Drop for Undo<'_> {
    fn drop(&mut self) {
        // The ADD's own error is what the caller gets; the runtime's DEL will try these again.
        if let Some(name) = self.link.take()
            && let Err(e) = self.host.delete_link(&name)
        {
            cni::note(format_args!("undoing the failed ADD: interface {name}: {e}"));
            return;
        }
        if self.rules
            && let Err(e) = rules::remove(self.owner, &[])
        {
            cni::note(format_args!("undoing the failed ADD: {e}"));
        }
        if let Some(ipam) = self.address.take()
            && let Err(e) = ipam.del()
        {
            cni::note(format_args!("undoing the failed ADD: the address reservation: {e}"));
        }
    }
}
