//! GC and STATUS of a network as a whole.

use std::collections::HashSet;

use cni::{Attachment, Verb};
use serde_json::{Value, json};

use crate::error::Error;
use crate::network::NetworkList;
use crate::run::{Runtime, RuntimeConf};

impl Runtime {
    /// Removes what the network holds for any attachment that is not in `valid`: DEL for those that the cache knows
    /// of, with what their ADD was called with, then, from 1.1.0 on, GC of each plugin. Does nothing with `disableGC`.
    ///
    /// # Errors
    /// [`Error::Several`] with everything that went wrong, after the rest was done.
    pub fn gc(&self, list: &NetworkList, valid: &[Attachment]) -> Result<(), Error> {
        if list.disable_gc() {
            return Ok(());
        }
        let mut errors = self.delete_stale(list, valid);
        if list.cni_version().has_gc_and_status() {
            // The second name is what the specification said before it was corrected; libcni, too, gives both.
            let attachments = json!(valid);
            let injected = [("cni.dev/valid-attachments", &attachments), ("cni.dev/attachments", &attachments)];
            errors.extend(self.each_plugin(list, Verb::Gc, &injected).filter_map(Result::err));
        }
        if errors.is_empty() { Ok(()) } else { Err(Error::Several(errors)) }
    }

    fn delete_stale(&self, list: &NetworkList, valid: &[Attachment]) -> Vec<Error> {
        let cached = match self.cached_attachments() {
            Ok(cached) => cached,
            Err(e) => return vec![e],
        };
        let valid: HashSet<&Attachment> = valid.iter().collect();
        let of_this = cached.into_iter().filter(|cached| cached.network == list.name());
        let stale = of_this.map(|cached| (cached.conf.attachment(), cached.conf));
        let stale = stale.filter(|(attachment, _)| !valid.contains(attachment));
        let delete = |(attachment, conf)| {
            let error = self.del(list, &conf).err()?;
            Some(Error::StaleAttachment { attachment, error: Box::new(error) })
        };
        stale.filter_map(delete).collect()
    }

    /// Asks each plugin whether ADD would succeed (STATUS). A network before 1.1.0 is taken to be ready.
    ///
    /// # Errors
    /// The first plugin's that says no, with its code: 50, or 51 if pods that are there suffer, too.
    pub fn status(&self, list: &NetworkList) -> Result<(), Error> {
        if !list.cni_version().has_gc_and_status() {
            return Ok(());
        }
        self.each_plugin(list, Verb::Status, &[]).collect()
    }

    fn each_plugin<'a>(
        &'a self,
        list: &'a NetworkList,
        verb: Verb,
        injected: &'a [(&'a str, &'a Value)],
    ) -> impl Iterator<Item = Result<(), Error>> + 'a {
        let nobody = RuntimeConf::default();
        (0..list.plugins().len()).map(move |index| self.run_one(list, index, verb, &nobody, injected))
    }
}
