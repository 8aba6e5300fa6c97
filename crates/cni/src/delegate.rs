//! Delegation: running the IPAM plugin, or another interface plugin, that a config names, as the specification's section 4 says.

use std::path::PathBuf;
use std::time::Duration;

use crate::call::{self, AttachmentCall, NetworkCall, Verb};
use crate::config::Attachment;
use crate::error::Error;
use crate::note::note;
use crate::plugin::Plugin;
use crate::program::{Program, ProgramFailure, Running};
use crate::result::CniResult;

/// Longer than the slowest plugin we know of takes on its own (dhcp gives up after 62 s).
const DEFAULT_DEADLINE: Duration = Duration::from_secs(120);
/// A day, in seconds: what is longer means for ever.
const LONGEST_DEADLINE: u64 = 24 * 60 * 60;
/// The operator's say in it, in seconds.
const DEADLINE_VARIABLE: &str = "PODLINK_DELEGATE_TIMEOUT";

/// Plugins that are known to do nothing before they have read their config. A script may act on its variables alone.
const WAIT_FOR_CONFIG: [&str; 3] = ["host-local", "static", "dhcp"];

/// What a plugin is to the one that delegates to it: how the log and errors call it.
#[derive(Clone, Copy)]
struct Role {
    /// The config key that names it.
    key: &'static str,
    title: &'static str,
    add: &'static str,
    wait: &'static str,
    check: &'static str,
    del: &'static str,
    gc: &'static str,
    status: &'static str,
}

const IPAM: Role = Role {
    key: "ipam.type",
    title: "IPAM plugin",
    add: "IPAM ADD",
    wait: "IPAM ADD: wait for it",
    check: "IPAM CHECK",
    del: "IPAM DEL",
    gc: "IPAM GC",
    status: "IPAM STATUS",
};
const DELEGATED: Role = Role {
    key: "delegate.type",
    title: "delegated plugin",
    add: "delegated ADD",
    wait: "delegated ADD: wait for it",
    check: "delegated CHECK",
    del: "delegated DEL",
    gc: "delegated GC",
    status: "delegated STATUS",
};

/// Another plugin that this call is passed on to, with the same config and variables.
pub struct Delegate<'a> {
    call: &'a NetworkCall,
    role: Role,
    plugin: String,
    program: Program,
    /// Where the program is the running one: the plugin itself.
    part: Option<&'static dyn Plugin>,
    /// Names the attachment whose interface the caller makes.
    new_interface: Option<String>,
}

impl<'a> Delegate<'a> {
    /// Finds the IPAM plugin of type `plugin` in `CNI_PATH`.
    ///
    /// # Errors
    /// Code 7 when the type is no plain file name or is in none of the directories.
    pub fn find(call: &'a NetworkCall, plugin: &str) -> Result<Delegate<'a>, Error> {
        Delegate::find_as(IPAM, call, plugin)
    }

    /// Finds the plugin that does the work of a meta plugin, named by `delegate.type` ([`NetworkCall::with_config`]).
    ///
    /// # Errors
    /// As [`Delegate::find`].
    pub fn find_delegated(call: &'a NetworkCall, plugin: &str) -> Result<Delegate<'a>, Error> {
        Delegate::find_as(DELEGATED, call, plugin)
    }

    fn find_as(role: Role, call: &'a NetworkCall, plugin: &str) -> Result<Delegate<'a>, Error> {
        let program = Program::find(plugin, &call.path)
            .map_err(|e| e.context(format!("network {:?}: {}", call.config.name, role.key)))?;
        // Asked first, since most programs have but one plugin.
        let part = (call.suite)(plugin).filter(|_| program.is_running_one());
        Ok(Delegate { call, role, plugin: plugin.to_owned(), program, part, new_interface: None })
    }

    /// Tells the plugin on ADD that no earlier ADD of this attachment is in force: by the time it gets its config, the caller
    /// has made the interface, under a name that only one of this attachment can have.
    pub fn for_new_interface(self, attachment: &Attachment) -> Delegate<'a> {
        Delegate { new_interface: Some(call::new_interface(attachment)), ..self }
    }

    /// Starts the plugin for ADD if it is known to wait for its config, so that it has loaded when its turn comes.
    ///
    /// # Errors
    /// The program cannot be run.
    pub fn start_add(&self) -> Result<StartedAdd<'_>, Error> {
        let waits = self.part.is_none() && WAIT_FOR_CONFIG.contains(&self.plugin.as_str());
        let running = waits.then(|| self.start()).transpose().map_err(|failure| self.error(failure))?;
        Ok(StartedAdd { delegate: self, running })
    }

    fn start(&self) -> Result<Running<'_>, ProgramFailure> {
        let new = self.new_interface.as_deref().map(|attachment| (call::NEW_INTERFACE_VARIABLE, attachment));
        self.program.start(Verb::Add, self.environment().chain(new), self.call.config.bytes())
    }

    /// CHECK.
    ///
    /// # Errors
    /// As [`StartedAdd::add`].
    pub fn check(&self) -> Result<(), Error> {
        self.run(Verb::Check)
    }

    /// DEL.
    ///
    /// # Errors
    /// As [`StartedAdd::add`].
    pub fn del(&self) -> Result<(), Error> {
        self.run(Verb::Del)
    }

    /// GC, with the attachments that are in the config.
    ///
    /// # Errors
    /// As [`StartedAdd::add`].
    pub fn gc(&self) -> Result<(), Error> {
        self.run(Verb::Gc)
    }

    /// STATUS.
    ///
    /// # Errors
    /// As [`StartedAdd::add`].
    pub fn status(&self) -> Result<(), Error> {
        self.run(Verb::Status)
    }

    /// What the plugin would read from its variables.
    fn attachment_call(&self) -> AttachmentCall {
        let value = |name: &str| self.environment().find(|(key, _)| *key == name).map(|(_, value)| value.to_owned());
        let container_id = value("CNI_CONTAINERID").unwrap_or_default();
        let attachment = Attachment { container_id, ifname: value("CNI_IFNAME").unwrap_or_default() };
        let interface_is_new = self.new_interface.is_some();
        // As the plugin's own process would have it.
        let override_value = value("CNI_NETNS_OVERRIDE").unwrap_or_default();
        let netns = value("CNI_NETNS").map(PathBuf::from).filter(|path| !call::is_ruled_out(path, &override_value));
        AttachmentCall { network: self.call.clone(), attachment, netns, interface_is_new }
    }

    /// ADD by a part of this program. The result is what would have come over a pipe in the config's version.
    fn add_in_process(&self, part: &dyn Plugin) -> Result<CniResult, ProgramFailure> {
        let (call, version) = (self.attachment_call(), self.call.config.cni_version);
        let result = part.add(&call).map_err(ProgramFailure::Refused)?;
        CniResult::from_value(&result.to_value(version), version).map_err(ProgramFailure::Refused)
    }

    fn run(&self, verb: Verb) -> Result<(), Error> {
        let what = match verb {
            Verb::Check => self.role.check,
            Verb::Gc => self.role.gc,
            Verb::Status => self.role.status,
            _ => self.role.del,
        };
        self.call.step(what, || self.run_verb(verb))
    }

    fn run_verb(&self, verb: Verb) -> Result<(), Error> {
        if let Some(part) = self.part {
            let done = match verb {
                Verb::Check => part.check(&self.attachment_call()),
                Verb::Gc => self.call.config.valid_attachments().and_then(|valid| part.gc(self.call, &valid)),
                Verb::Status => part.status(self.call),
                _ => part.del(&self.attachment_call()),
            };
            return done.map_err(|error| self.error(ProgramFailure::Refused(error)));
        }
        let output = self.program.run(verb, self.environment(), self.call.config.bytes(), Some(deadline()));
        output.map(drop).map_err(|failure| self.error(failure))
    }

    fn environment(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.call.environment.iter().map(|(key, value)| (*key, value.as_str()))
    }

    /// A plugin's own error names the network where that matters; the rest is ours to explain in full.
    fn error(&self, failure: ProgramFailure) -> Error {
        match failure {
            ProgramFailure::Refused(error) => error.context(format!("{} {}", self.role.title, self.plugin)),
            ProgramFailure::NotRun(error) | ProgramFailure::Unclear(error) => {
                error.context(format!("network {:?}: {} {}", self.call.config.name, self.role.title, self.plugin))
            }
        }
    }
}

/// An ADD that is to come. Dropped, the plugin is ended before it has done anything.
pub struct StartedAdd<'a> {
    delegate: &'a Delegate<'a>,
    running: Option<Running<'a>>,
}

impl StartedAdd<'_> {
    /// ADD. If the plugin dies, hangs or answers nonsense, it is told to DEL what it may have done, but only
    /// [for a new interface](Delegate::for_new_interface): else an earlier ADD of the same attachment may be in force.
    ///
    /// # Errors
    /// The plugin's own error, or what went wrong in running it.
    pub fn add(self) -> Result<CniResult, Error> {
        self.add_while(|| ()).0
    }

    /// The same, doing `work` while the plugin runs.
    ///
    /// # Errors
    /// As [`StartedAdd::add`].
    pub fn add_while<T>(self, work: impl FnOnce() -> T) -> (Result<CniResult, Error>, T) {
        let delegate = self.delegate;
        if let Some(part) = delegate.part {
            let added = delegate.call.step(delegate.role.add, || delegate.add_in_process(part));
            return (added.map_err(|failure| delegate.error(failure)), work());
        }
        let started = self.running.map_or_else(|| delegate.start(), Ok).map(|mut running| {
            running.send();
            running
        });
        let done = work();
        let version = delegate.call.config.cni_version;
        let result = started
            .and_then(|running| delegate.call.step(delegate.role.wait, || running.result(version, Some(deadline()))));
        if let Err(ProgramFailure::Unclear(_)) = &result
            && delegate.new_interface.is_some()
            && let Err(e) = delegate.del()
        {
            note(format_args!("undoing what the failed ADD may have done: {e}"));
        }
        (result.map_err(|failure| delegate.error(failure)), done)
    }
}

fn deadline() -> Duration {
    let set = std::env::var(DEADLINE_VARIABLE).ok().and_then(|text| text.parse().ok());
    set.map_or(DEFAULT_DEADLINE, |seconds: u64| Duration::from_secs(seconds.min(LONGEST_DEADLINE)))
}

#[cfg(test)]
mod tests;
