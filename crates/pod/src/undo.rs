//! A failed ADD leaves nothing: what it made is taken back when it goes out of scope.

use cni::{Delegate, Error};
use netlink::Netlink;

/// What an ADD has made so far. Dropped without [`Undo::disarm`] (on an error), it removes it again.
pub struct Undo<'a> {
    host: &'a Netlink,
    link: Option<String>,
    rules: Option<Box<dyn FnOnce() -> Result<(), Error> + 'a>>,
    address: Option<&'a Delegate<'a>>,
}

impl<'a> Undo<'a> {
    /// Nothing made yet.
    pub fn new(host: &'a Netlink) -> Undo<'a> {
        Undo { host, link: None, rules: None, address: None }
    }

    /// The veth pair was made; its host end is called `name`.
    pub fn link(&mut self, name: &str) {
        self.link = Some(name.to_owned());
    }

    /// Rules are being made, which `remove` removes.
    pub fn rules(&mut self, remove: impl FnOnce() -> Result<(), Error> + 'a) {
        self.rules = Some(Box::new(remove));
    }

    /// The IPAM plugin reserved addresses.
    pub fn address(&mut self, ipam: &'a Delegate<'a>) {
        self.address = Some(ipam);
    }

    /// The ADD succeeded: all of it stays.
    pub fn disarm(mut self) {
        self.link = None;
        self.rules = None;
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
        if let Some(Err(e)) = self.rules.take().map(|remove| remove()) {
            cni::note(format_args!("undoing the failed ADD: {e}"));
        }
        if let Some(Err(e)) = self.address.take().map(Delegate::del) {
            cni::note(format_args!("undoing the failed ADD: the address reservation: {e}"));
        }
    }
}
