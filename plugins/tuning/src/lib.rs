//! The `tuning` plugin: sysctls of a pod, and MAC, MTU, modes and queue length of its interface. Chained after the plugin
//! that made the interface.
//!
//! Before anything is changed, what was there is written to a file of the attachment (`dataDir`), so that DEL, or an ADD
//! that fails, or the next call after a kill, can put it back.

mod allow_list;
mod backup;
mod config;
mod interface;
mod key;
mod sysctls;

use cni::{Attachment, AttachmentCall, CniResult, Error, ErrorCode, NetworkCall, Plugin};
use pod::Pod;

use crate::allow_list::AllowList;
use crate::backup::{Backup, BackupFile, Record};
use crate::config::Config;

/// The plugin.
pub struct Tuning;

impl Plugin for Tuning {
    fn name(&self) -> &'static str {
        "tuning"
    }

    fn read_config(&self, call: &NetworkCall) -> Result<(), Error> {
        Config::read(call, key::PLACEHOLDER).map(drop)
    }

    fn add(&self, call: &AttachmentCall) -> Result<CniResult, Error> {
        let config = Config::read(&call.network, &call.attachment.ifname)?;
        AllowList::check(&config.sysctls)?;
        let mut result = prev_result(call)?;
        if config.is_empty() {
            return Ok(result);
        }
        let pod = Pod::open(call.netns()?)?;
        let link = interface::find(&pod, &call.attachment, &config)?;
        let mut backup = interface::backup(link.as_ref(), &config);
        backup.podlink = Some(Record {
            network: call.network.config.name.clone(),
            attachment: call.attachment.clone(),
            place: backup::place(call.netns()?, link.as_ref())?,
            sysctls: sysctls::read(&pod, &config.sysctls)?,
        });
        let file = BackupFile::of(&config.data_dir, &call.attachment);
        backup.keep_older(file.read());
        call.step("write the backup", || file.write(&backup))?;

        let tuned = call
            .step("set the sysctls", || sysctls::set(&pod, &config.sysctls))
            .and_then(|()| call.step("set up the interface", || interface::set(&pod, &call.attachment, &config)));
        if let Err(e) = tuned {
            restore(&pod, &call.attachment, &backup, &file);
            file.remove()?;
            return Err(e);
        }
        interface::describe(&mut result, &call.attachment, &config);
        Ok(result)
    }

    fn check(&self, call: &AttachmentCall) -> Result<(), Error> {
        let config = Config::read(&call.network, &call.attachment.ifname)?;
        prev_result(call)?;
        let pod = Pod::open(call.netns()?)?;
        sysctls::verify(&pod, &config.sysctls)?;
        interface::verify(&pod, &call.attachment, &config)
    }

    fn del(&self, call: &AttachmentCall) -> Result<(), Error> {
        let file = BackupFile::of(&config::data_dir(&call.network)?, &call.attachment);
        if let Some(backup) = file.read()
            && let Some(path) = &call.netns
            && let Some(pod) = Pod::open_if_there(path)?
        {
            let link = pod.link(&call.attachment.ifname)?;
            // The path may lead to another pod's namespace by now, as /proc/<pid>/ns/net does when the ID is used again.
            let place = backup::place(path, link.as_ref()).ok();
            if backup.podlink.as_ref().is_none_or(|record| place.as_ref() == Some(&record.place)) {
                call.step("restore what was there", || restore(&pod, &call.attachment, &backup, &file));
            }
        }
        file.remove()
    }

    fn gc(&self, call: &NetworkCall, valid: &[Attachment]) -> Result<(), Error> {
        backup::remove_unowned(&config::data_dir(call)?, &call.config.name, valid)
    }

    fn status(&self, call: &NetworkCall) -> Result<(), Error> {
        let ready = Config::read(call, key::PLACEHOLDER).and_then(|config| AllowList::check(&config.sysctls));
        ready.map_err(|e| Error { code: ErrorCode::NOT_AVAILABLE, ..e })
    }
}

/// Puts back what was there. What cannot be restored must not keep the pod from going: it is noted.
fn restore(pod: &Pod, attachment: &Attachment, backup: &Backup, file: &BackupFile) {
    let mut failures = interface::restore(pod, attachment, backup);
    let saved = backup.podlink.as_ref().map(|record| &record.sysctls[..]).unwrap_or_default();
    let shared = if saved.is_empty() { Vec::new() } else { file.sysctls_of_others(attachment) };
    failures.extend(sysctls::restore(pod, saved, &shared));
    for failure in failures {
        cni::note(format_args!("tuning: restoring {attachment}: {failure}"));
    }
}

fn prev_result(call: &AttachmentCall) -> Result<CniResult, Error> {
    call.network.config.prev_result()?.ok_or_else(|| {
        Error::new(ErrorCode::INVALID_CONFIG, "Required prevResult missing").with_details(format!(
            "network {:?}: in the conflist, put tuning after the plugin that makes the pod's interface",
            call.network.config.name
        ))
    })
}
