//! ADD, CHECK and DEL of one attachment: the chain there and back.

use cni::{CniResult, Verb};
use serde_json::Value;

use crate::cache::CachedAttachment;
use crate::error::Error;
use crate::network::NetworkList;
use crate::run::{Runtime, RuntimeConf};

impl Runtime {
    /// Attaches a pod: ADD of each plugin in order, each with the result of the one before; the last result is cached.
    ///
    /// What a failed ADD leaves is not cleaned up here, as in libcni: the caller calls [`Runtime::del`].
    ///
    /// # Errors
    /// The first plugin's that fails, or a name, a missing plugin or the cache; see [`Error`].
    pub fn add(&self, list: &NetworkList, conf: &RuntimeConf) -> Result<CniResult, Error> {
        conf.validate()?;
        // Before the first one runs: that a later one is missing should change nothing.
        let programs = (0..list.plugins().len()).map(|index| self.program(list, index, Verb::Add));
        let programs = programs.collect::<Result<Vec<_>, _>>()?;
        let mut result: Option<CniResult> = None;
        for (index, program) in programs.iter().enumerate() {
            let injected = Injected::new(list, index, conf, result.as_ref());
            result = Some(self.add_one(list, index, program, conf, &injected.pairs())?);
        }
        let result = result.unwrap_or_default();
        self.cache().write(list, conf, &result)?;
        Ok(result)
    }

    /// Checks an attachment: CHECK of each plugin in order, with the cached result. Does nothing with `disableCheck`.
    ///
    /// # Errors
    /// The first plugin's that fails, [`Error::CheckUnsupported`] before 0.4.0, [`Error::NoCachedResult`], or one that
    /// cannot be used.
    pub fn check(&self, list: &NetworkList, conf: &RuntimeConf) -> Result<(), Error> {
        conf.validate()?;
        if !list.cni_version().has_check() {
            return Err(Error::CheckUnsupported { network: list.label(), version: list.cni_version() });
        }
        if list.disable_check() {
            return Ok(());
        }
        let attachment = conf.attachment();
        let result = self.cache().result(list.name(), &attachment)?.ok_or_else(|| Error::NoCachedResult {
            network: list.label(),
            path: self.cache().path(list.name(), &attachment),
            attachment,
        })?;
        (0..list.plugins().len()).try_for_each(|index| {
            let injected = Injected::new(list, index, conf, Some(&result));
            self.run_one(list, index, Verb::Check, conf, &injected.pairs())
        })
    }

    /// Detaches a pod: DEL of each plugin in reverse order, from 0.4.0 on with the cached result, which is then
    /// removed. A missing or damaged one is no error: plugins must be able to DEL without.
    ///
    /// # Errors
    /// The first plugin's that fails. The rest of the chain and the cached result stay for the next try, as in libcni.
    pub fn del(&self, list: &NetworkList, conf: &RuntimeConf) -> Result<(), Error> {
        conf.validate()?;
        let attachment = conf.attachment();
        let cached = self.cache().result(list.name(), &attachment);
        let is_another = matches!(cached, Err(Error::CacheTaken { .. }));
        let result = cached.ok().flatten().filter(|_| list.cni_version().has_check());
        for index in (0..list.plugins().len()).rev() {
            let injected = Injected::new(list, index, conf, result.as_ref());
            self.run_one(list, index, Verb::Del, conf, &injected.pairs())?;
        }
        if is_another { Ok(()) } else { self.cache().remove(list.name(), &attachment) }
    }

    /// The cached result of an attachment's ADD; `None` if there is none.
    ///
    /// # Errors
    /// A name that is not valid, or a cached result that cannot be used.
    pub fn cached_result(&self, list: &NetworkList, conf: &RuntimeConf) -> Result<Option<CniResult>, Error> {
        conf.validate()?;
        self.cache().result(list.name(), &conf.attachment())
    }

    /// Every attachment that the cache knows of, of whatever network and runtime, ordered by file name.
    ///
    /// # Errors
    /// A directory that cannot be read. Files that cannot be understood are left out.
    pub fn cached_attachments(&self) -> Result<Vec<CachedAttachment>, Error> {
        self.cache().attachments()
    }
}

/// What one plugin's configuration gets for one attachment.
struct Injected {
    prev_result: Option<Value>,
    runtime_config: Option<Value>,
}

impl Injected {
    fn new(list: &NetworkList, index: usize, conf: &RuntimeConf, prev_result: Option<&CniResult>) -> Injected {
        Injected {
            prev_result: prev_result.map(|result| result.to_value(list.cni_version())),
            runtime_config: list.plugins()[index].runtime_config(&conf.capability_args),
        }
    }

    fn pairs(&self) -> Vec<(&str, &Value)> {
        let prev_result = self.prev_result.as_ref().map(|value| ("prevResult", value));
        prev_result.into_iter().chain(self.runtime_config.as_ref().map(|value| ("runtimeConfig", value))).collect()
    }
}
