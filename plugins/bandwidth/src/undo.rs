//! A failed ADD leaves nothing: what it made is taken back when it goes out of scope.

use netlink::{Handle, Netlink};

/// What an ADD has made so far. Dropped without [`Undo::disarm`] (on an error), it removes it again.
pub struct Undo<'a> {
    host: &'a Netlink,
    end: u32,
    limited: bool,
    ifb: Option<u32>,
}

impl<'a> Undo<'a> {
    /// Nothing made yet on the host's end of the pair, which has the index `end`.
    pub fn new(host: &'a Netlink, end: u32) -> Undo<'a> {
        Undo { host, end, limited: false, ifb: None }
    }

    /// The root qdisc of the host's end may be ours now.
    pub fn root(&mut self) {
        self.limited = true;
    }

    /// The ifb was made.
    pub fn ifb(&mut self, index: u32) {
        self.ifb = Some(index);
    }

    /// The ADD succeeded: all of it stays.
    pub fn disarm(mut self) {
        self.limited = false;
        self.ifb = None;
    }
}

impl Drop for Undo<'_> {
    fn drop(&mut self) {
        // The ADD's own error is what the caller gets; the runtime's DEL will try these again.
        let note = |what: &str, e: netlink::Error| cni::note(format_args!("undoing the failed ADD: {what}: {e}"));
        if self.limited
            && let Err(e) = self.host.delete_qdisc(self.end, Handle::ROOT)
        {
            note("qdisc", e);
        }
        if let Some(ifb) = self.ifb.take()
            && let Err(e) = self.host.delete_link(ifb)
        {
            note("ifb", e);
        }
    }
}
