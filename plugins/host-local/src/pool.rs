//! What a network's config says about its addresses, for tools that look at them.

use cni::{CniArgs, Error, NetConf};
use ipam::{RangeSets, Store};

use crate::config::{self, Config};

/// The addresses of a network: where they are kept, and what there is to give out.
#[derive(Debug)]
pub struct Pool {
    /// Where they are kept (`ipam.dataDir`).
    pub store: Store,
    /// The ranges; the error where the config does not say them, as when the runtime gives them with each call
    /// (capability `ipRanges`).
    pub sets: Result<RangeSets, Error>,
}

impl Pool {
    /// Reads a plugin's config whose `ipam` section is for host-local.
    ///
    /// # Errors
    /// Code 7 when the config does not say where the addresses are.
    pub fn read(conf: &NetConf) -> Result<Pool, Error> {
        let sets = Config::read(conf, &CniArgs::default()).map(|config| config.sets);
        Ok(Pool { store: config::store(conf)?, sets })
    }
}
