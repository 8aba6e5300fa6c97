//! `static`: an IPAM plugin that gives a pod the addresses its config, or its runtime, says, and remembers nothing.

mod config;

use cni::{Attachment, AttachmentCall, CniResult, Error, ErrorCode, NetworkCall, Plugin};

use crate::config::Config;

/// The plugin.
#[derive(Debug, Clone, Copy)]
pub struct Static;

impl Plugin for Static {
    fn name(&self) -> &'static str {
        "static"
    }

    fn read_config(&self, call: &NetworkCall) -> Result<(), Error> {
        Config::read(call).map(drop)
    }

    fn add(&self, call: &AttachmentCall) -> Result<CniResult, Error> {
        call.network.args.reject_unknown()?;
        let Config { ips, routes, dns } = Config::read(&call.network)?;
        Ok(CniResult { ips, routes, dns, ..CniResult::default() })
    }

    /// Each configured address must be in `prevResult`, with its gateway if it has one: else the config has changed since ADD.
    fn check(&self, call: &AttachmentCall) -> Result<(), Error> {
        let config = Config::read(&call.network)?;
        let network = &call.network.config;
        let result = network.prev_result()?.ok_or_else(|| {
            Error::new(ErrorCode::INVALID_CONFIG, "Required prevResult missing")
                .with_details(format!("network {:?}: CHECK compares with the result of ADD", network.name))
        })?;
        for expected in &config.ips {
            let found = result.ips.iter().find(|ip| ip.address.ip() == expected.address.ip());
            let gateway = |ip: &cni::IpConfig| ip.gateway.map_or_else(|| "none".to_owned(), |ip| ip.to_string());
            let what = match found {
                None => "it is not in prevResult".to_owned(),
                Some(ip) if expected.gateway.is_some() && ip.gateway != expected.gateway => {
                    format!("its gateway is {} and in prevResult {}", gateway(expected), gateway(ip))
                }
                Some(_) => continue,
            };
            let msg = format!("the config of network {:?} gives {}: {what}", network.name, expected.address);
            return Err(Error::new(ErrorCode::INTERNAL, msg)
                .with_details("the config has changed since the pod was attached; create the pod anew"));
        }
        Ok(())
    }

    fn del(&self, _: &AttachmentCall) -> Result<(), Error> {
        // Nothing is kept, so nothing can be left; a config that has become invalid is nobody's concern here.
        Ok(())
    }

    fn gc(&self, _: &NetworkCall, _: &[Attachment]) -> Result<(), Error> {
        Ok(())
    }

    fn status(&self, call: &NetworkCall) -> Result<(), Error> {
        let unavailable = |error: Error| Error { code: ErrorCode::NOT_AVAILABLE, ..error };
        Config::read(call).map(drop).map_err(unavailable)
    }
}
