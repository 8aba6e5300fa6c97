//! Delegation: running the IPAM plugin a config names, as the specification's section 4 says.

use std::fs::File;
use std::io::{ErrorKind, Read, Seek, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, OFlags, fcntl_getfl, fcntl_setfl, memfd_create};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde_json::Value;

use crate::call::{NetworkCall, Verb};
use crate::error::{Error, ErrorCode};
use crate::result::CniResult;

/// Longer than the slowest plugin we know of takes on its own (dhcp gives up after 62 s).
const DEFAULT_DEADLINE: Duration = Duration::from_secs(120);
/// The operator's say in it, in seconds.
const DEADLINE_VARIABLE: &str = "PODLINK_DELEGATE_TIMEOUT";
/// A result is a few kilobytes.
const MAX_OUTPUT: u64 = 8 << 20;

/// Another plugin that this call is passed on to, with the same config and variables.
pub struct Delegate<'a> {
    call: &'a NetworkCall,
    plugin: String,
    executable: PathBuf,
}

/// How a delegate's run went wrong.
enum Failure {
    /// It said no, and is trusted to have changed nothing.
    Refused(Error),
    /// It died, hung or spoke nonsense: what it has done is unknown.
    Unclear(Error),
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Error {
        match failure {
            Failure::Refused(error) | Failure::Unclear(error) => error,
        }
    }
}

impl<'a> Delegate<'a> {
    /// Finds the plugin of type `plugin` in `CNI_PATH`.
    ///
    /// # Errors
    /// Code 7 when the type is no plain file name or is in none of the directories.
    pub fn find(call: &'a NetworkCall, plugin: &str) -> Result<Delegate<'a>, Error> {
        if plugin.contains('/') {
            let msg = format!("network {:?}: invalid plugin name {plugin:?}", call.config.name);
            return Err(Error::new(ErrorCode::INVALID_CONFIG, msg).with_details("ipam.type must not have a '/' in it"));
        }
        let is_program =
            |path: &PathBuf| path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0);
        let executable = call.path.iter().map(|dir| dir.join(plugin)).find(is_program).ok_or_else(|| {
            let msg =
                format!("network {:?}: failed to find plugin {plugin:?} in path {:?}", call.config.name, call.path);
            Error::new(ErrorCode::INVALID_CONFIG, msg)
                .with_details("install it there, or correct ipam.type or CNI_PATH")
        })?;
        Ok(Delegate { call, plugin: plugin.to_owned(), executable })
    }

    /// ADD. If the plugin dies, hangs or answers nonsense, it is told to DEL what it may have done; so the caller must
    /// be sure that no earlier ADD of the same attachment is in force.
    ///
    /// # Errors
    /// The plugin's own error, or what went wrong in running it.
    pub fn add(&self) -> Result<CniResult, Error> {
        let result = self.execute(Verb::Add).and_then(|output| {
            let read = serde_json::from_slice::<Value>(&output)
                .map_err(|e| Error::new(ErrorCode::DECODE, format!("not JSON: {e}")))
                .and_then(|value| CniResult::from_value(&value, self.call.config.cni_version));
            read.map_err(|e| {
                Failure::Unclear(self.error(e.code, &format!("printed no valid result: {}", e.msg), &output))
            })
        });
        if let Err(Failure::Unclear(_)) = &result
            && let Err(e) = self.del()
        {
            eprintln!("undoing what the failed ADD may have done: {e}");
        }
        result.map_err(Error::from)
    }

    /// CHECK.
    ///
    /// # Errors
    /// As [`Delegate::add`].
    pub fn check(&self) -> Result<(), Error> {
        Ok(self.execute(Verb::Check).map(drop)?)
    }

    /// DEL.
    ///
    /// # Errors
    /// As [`Delegate::add`].
    pub fn del(&self) -> Result<(), Error> {
        Ok(self.execute(Verb::Del).map(drop)?)
    }

    /// GC, with the attachments that are in the config.
    ///
    /// # Errors
    /// As [`Delegate::add`].
    pub fn gc(&self) -> Result<(), Error> {
        Ok(self.execute(Verb::Gc).map(drop)?)
    }

    /// STATUS.
    ///
    /// # Errors
    /// As [`Delegate::add`].
    pub fn status(&self) -> Result<(), Error> {
        Ok(self.execute(Verb::Status).map(drop)?)
    }

    /// Runs the plugin once and returns what it printed.
    fn execute(&self, verb: Verb) -> Result<Vec<u8>, Failure> {
        let not_started = |e: std::io::Error| {
            let error = Error::new(ErrorCode::IO, format!("{} cannot be run: {e}", self.executable.display()));
            Failure::Refused(error.context(format!("network {:?}", self.call.config.name)))
        };
        let mut child = Command::new(&self.executable)
            .env("CNI_COMMAND", verb.as_str())
            .envs(self.call.environment.iter().map(|(key, value)| (key, value)))
            .stdin(self.config_as_file().map_err(not_started)?)
            .stdout(Stdio::piped())
            .spawn()
            .map_err(not_started)?;
        let deadline = deadline();
        let output = match collect(&mut child, deadline) {
            Ok(Some(output)) => output,
            unfinished => {
                // Its own process: killed and reaped here, so the ID cannot have been reused.
                let _ = child.kill();
                let _ = child.wait();
                let why = match unfinished {
                    Err(e) => format!("could not be heard: {e}"),
                    Ok(_) => format!("did not finish {} within {} s and was killed", verb.as_str(), deadline.as_secs()),
                };
                return Err(Failure::Unclear(self.error(ErrorCode::TRY_AGAIN_LATER, &why, &[])));
            }
        };
        let status = child.wait().map_err(|e| Failure::Unclear(self.error(ErrorCode::IO, &e.to_string(), &[])))?;
        self.judge(verb, status, output)
    }

    fn judge(&self, verb: Verb, status: ExitStatus, output: Vec<u8>) -> Result<Vec<u8>, Failure> {
        if status.success() {
            return Ok(output);
        }
        if let Some(error) = Error::from_json(&output) {
            return Err(Failure::Refused(error.context(format!("IPAM plugin {}", self.plugin))));
        }
        let how = match status.signal() {
            Some(signal) => format!("was killed by signal {signal} during {}", verb.as_str()),
            None => format!("failed {} ({status}) and printed no CNI error", verb.as_str()),
        };
        Err(Failure::Unclear(self.error(ErrorCode::INTERNAL, &how, &output)))
    }

    fn error(&self, code: ErrorCode, what: &str, output: &[u8]) -> Error {
        let msg = format!("network {:?}: IPAM plugin {} {what}", self.call.config.name, self.plugin);
        let printed = String::from_utf8_lossy(&output[..output.len().min(200)]).into_owned();
        let printed = if output.is_empty() { String::new() } else { format!(", it printed {printed:?}") };
        Error::new(code, msg).with_details(format!("executable {}{printed}", self.executable.display()))
    }

    /// The config as the child's stdin. A file in memory cannot block us as a full pipe can, however large the config
    /// and however deaf the child.
    fn config_as_file(&self) -> std::io::Result<Stdio> {
        let mut file = File::from(memfd_create("cni-config", MemfdFlags::CLOEXEC)?);
        file.write_all(self.call.config.bytes())?;
        file.rewind()?;
        Ok(Stdio::from(file))
    }
}

fn deadline() -> Duration {
    let set = std::env::var(DEADLINE_VARIABLE).ok().and_then(|text| text.parse().ok());
    set.map_or(DEFAULT_DEADLINE, Duration::from_secs)
}

/// What the child prints until it exits; `None` if it has not exited after `limit`. A grandchild that keeps the pipe
/// open is not waited for.
fn collect(child: &mut Child, limit: Duration) -> std::io::Result<Option<Vec<u8>>> {
    let Some(mut stdout) = child.stdout.take() else { return Ok(Some(Vec::new())) };
    fcntl_setfl(&stdout, fcntl_getfl(&stdout)? | OFlags::NONBLOCK)?;
    let exited = pidfd_open(Pid::from_child(child), PidfdFlags::empty())?;
    let end = Instant::now() + limit;
    let mut output = Vec::new();
    let mut open = true;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let left =
            Timespec { tv_sec: left.as_secs().try_into().unwrap_or(i64::MAX), tv_nsec: left.subsec_nanos().into() };
        let mut fds = [PollFd::new(&exited, PollFlags::IN), PollFd::new(&stdout, PollFlags::IN)];
        let watched = if open { &mut fds[..] } else { &mut fds[..1] };
        match poll(watched, Some(&left)) {
            Ok(0) => return Ok(None),
            Err(rustix::io::Errno::INTR) => continue,
            Err(e) => return Err(e.into()),
            Ok(_) => {}
        }
        let has_exited = !fds[0].revents().is_empty();
        if open {
            match (&mut stdout).take(MAX_OUTPUT + 1 - output.len() as u64).read_to_end(&mut output) {
                Ok(_) => open = false,
                Err(e) if e.kind() == ErrorKind::WouldBlock => {}
                Err(e) => return Err(e),
            }
            if output.len() as u64 > MAX_OUTPUT {
                return Err(std::io::Error::other(format!("it printed more than {MAX_OUTPUT} bytes")));
            }
        }
        if has_exited {
            return Ok(Some(output));
        }
    }
}

#[cfg(test)]
mod tests;
