//! The `flannel` meta plugin: makes a config for bridge, or another plugin, of the subnet that flanneld leased for this node, and
//! delegates to it.
//!
//! The config is kept from ADD to DEL, so that DEL and CHECK mean what ADD made, also when flanneld has another subnet by then or
//! is gone. Where it was not kept, DEL and GC work by whose the attachment is, as those of the delegated plugin do.

mod config;
mod kept;
mod subnet;

use std::collections::BTreeMap;
use std::path::PathBuf;

use cni::{Attachment, AttachmentCall, CniResult, Delegate, Error, ErrorCode, NetworkCall, Plugin};

use crate::config::{Config, Object, plugin_of};
use crate::kept::Kept;
use crate::subnet::Subnet;

/// The plugin.
#[derive(Debug, Clone, Copy)]
pub struct Flannel;

impl Plugin for Flannel {
    fn name(&self) -> &'static str {
        "flannel"
    }

    fn read_config(&self, call: &NetworkCall) -> Result<(), Error> {
        Config::read(call).map(drop)
    }

    fn add(&self, call: &AttachmentCall) -> Result<CniResult, Error> {
        let config = Config::read(&call.network)?;
        let subnet = Subnet::read(&config.subnet_file)?;
        let delegated = config.delegated(&call.network, Some(&subnet));
        let bytes = text(&delegated)?;
        let inner = call.network.with_config(bytes.clone())?;
        let delegate = Delegate::find_delegated(&inner, plugin_of(&delegated))?;
        // Before anything is made, so that whatever a killed ADD leaves can be removed with the config it was made by.
        let kept = kept(&config, call).write(&bytes)?;
        let result = delegate.start_add()?.add()?;
        kept.keep();
        Ok(result)
    }

    fn check(&self, call: &AttachmentCall) -> Result<(), Error> {
        let config = Config::read(&call.network)?;
        let delegated = match kept(&config, call).read()? {
            Some(kept) => kept,
            None => config.delegated(&call.network, Some(&Subnet::read(&config.subnet_file)?)),
        };
        delegate(&call.network, delegated, |delegate| delegate.check())
    }

    fn del(&self, call: &AttachmentCall) -> Result<(), Error> {
        let config = Config::read_for_removal(&call.network)?;
        let kept = kept(&config, call);
        let delegated = kept.read()?.unwrap_or_else(|| config.delegated(&call.network, None));
        delegate(&call.network, delegated, |delegate| delegate.del())?;
        kept.remove()
    }

    fn gc(&self, call: &NetworkCall, valid: &[Attachment]) -> Result<(), Error> {
        let config = Config::read_for_removal(call)?;
        let dead = kept::dead(&config.data_dir, &call.config.name, valid)?;
        let mut collected = delegate(call, config.delegated(call, None), |delegate| delegate.gc());
        // The config may have named another plugin, or place for addresses, when these were made.
        let mut others: BTreeMap<String, (Object, Vec<PathBuf>)> = BTreeMap::new();
        for (path, config) in dead {
            let key =
                format!("{} {}", plugin_of(&config), config.get("ipam").map_or_else(String::new, ToString::to_string));
            others.entry(key).or_insert_with(|| (config, Vec::new())).1.push(path);
        }
        for (config, paths) in others.into_values() {
            let done = delegate(call, config, |delegate| delegate.gc());
            // Those of a plugin that is gone by now stay, and so does what they know.
            let removed = done.and_then(|()| {
                paths.iter().try_for_each(|path| {
                    kept::remove(path)
                        .map_err(|e| Error::new(ErrorCode::IO, format!("GC cannot remove {}: {e}", path.display())))
                })
            });
            collected = collected.and(removed);
        }
        collected
    }

    fn status(&self, call: &NetworkCall) -> Result<(), Error> {
        let config = Config::read(call)?;
        let ready = Subnet::read(&config.subnet_file)
            .and_then(|subnet| delegate(call, config.delegated(call, Some(&subnet)), |delegate| delegate.status()));
        ready.map_err(Error::unavailable)
    }
}

fn kept<'a>(config: &'a Config, call: &'a AttachmentCall) -> Kept<'a> {
    Kept::of(&config.data_dir, &call.attachment, &call.network.config.name)
}

/// Has the plugin that `delegated` is for do something about the call.
fn delegate(
    call: &NetworkCall,
    delegated: Object,
    verb: impl FnOnce(&Delegate<'_>) -> Result<(), Error>,
) -> Result<(), Error> {
    let delegated = config::for_this_call(delegated, call)?;
    let inner = call.with_config(text(&delegated)?)?;
    verb(&Delegate::find_delegated(&inner, plugin_of(&delegated))?)
}

fn text(config: &Object) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(config)
        .map_err(|e| Error::new(ErrorCode::INTERNAL, format!("the delegated config cannot be written as JSON: {e}")))
}
