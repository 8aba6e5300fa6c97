//! Running another plugin's program: find it, hand it a call, hear it out, judge its answer (specification, section 2).

use std::ffi::OsStr;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde_json::Value;

use crate::call::Verb;
use crate::error::{Error, ErrorCode};
use crate::result::CniResult;
use crate::version::SpecVersion;

/// A result is a few kilobytes.
const MAX_OUTPUT: u64 = 8 << 20;

/// The executable of a plugin, found in `CNI_PATH`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    executable: PathBuf,
}

/// How a run went wrong. The errors tell what happened, not to whom: the caller puts the plugin's part in it before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProgramFailure {
    /// It could not be started.
    NotRun(Error),
    /// It said no, and is trusted to have changed nothing. This is its own error.
    Refused(Error),
    /// It died, hung or spoke nonsense: what it has done is unknown.
    Unclear(Error),
}

impl From<ProgramFailure> for Error {
    fn from(failure: ProgramFailure) -> Error {
        match failure {
            ProgramFailure::NotRun(error) | ProgramFailure::Refused(error) | ProgramFailure::Unclear(error) => error,
        }
    }
}

impl Program {
    /// Finds the plugin of type `plugin` in the directories of `path`, the first that has it.
    ///
    /// # Errors
    /// Code 7 when the type is no plain file name or is in none of the directories.
    pub fn find(plugin: &str, path: &[PathBuf]) -> Result<Program, Error> {
        if plugin.is_empty() || plugin.contains('/') {
            return Err(Error::new(ErrorCode::INVALID_CONFIG, format!("invalid plugin name {plugin:?}"))
                .with_details("a plugin's type is the name of its executable, without a '/'"));
        }
        let is_program =
            |path: &PathBuf| path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0);
        let executable = path.iter().map(|dir| dir.join(plugin)).find(is_program).ok_or_else(|| {
            Error::new(ErrorCode::INVALID_CONFIG, format!("failed to find plugin {plugin:?} in path {path:?}"))
                .with_details("install it there, or correct its type in the config or CNI_PATH")
        })?;
        Ok(Program { executable })
    }

    /// Whether this is the very file that is running, under whatever name.
    pub(crate) fn is_running_one(&self) -> bool {
        let identity = |path: &Path| path.metadata().map(|meta| (meta.dev(), meta.ino())).ok();
        identity(&self.executable).is_some_and(|this| identity(Path::new("/proc/self/exe")) == Some(this))
    }

    /// Runs ADD and reads the result; one that does not say its version has `version`, the config's.
    ///
    /// # Errors
    /// As [`Program::run`], and `Unclear` for an answer that is not a result.
    pub fn add<K: AsRef<OsStr>, V: AsRef<OsStr>>(
        &self,
        environment: impl IntoIterator<Item = (K, V)>,
        config: &[u8],
        version: SpecVersion,
        deadline: Option<Duration>,
    ) -> Result<CniResult, ProgramFailure> {
        self.start(Verb::Add, environment, config)?.result(version, deadline)
    }

    /// Runs the plugin once and returns what it printed. It has this process's environment with `CNI_COMMAND` and
    /// `environment` over it, and this process's stderr. After `deadline` it is killed; `None` waits as long as it takes.
    ///
    /// # Errors
    /// What kept it from a successful answer.
    pub fn run<K: AsRef<OsStr>, V: AsRef<OsStr>>(
        &self,
        verb: Verb,
        environment: impl IntoIterator<Item = (K, V)>,
        config: &[u8],
        deadline: Option<Duration>,
    ) -> Result<Vec<u8>, ProgramFailure> {
        self.start(verb, environment, config)?.finish(deadline)
    }

    /// Starts the plugin, as [`Program::run`] does. Until it is sent its config it can do nothing but load itself.
    ///
    /// # Errors
    /// `NotRun`.
    pub(crate) fn start<'a, K: AsRef<OsStr>, V: AsRef<OsStr>>(
        &'a self,
        verb: Verb,
        environment: impl IntoIterator<Item = (K, V)>,
        config: &'a [u8],
    ) -> Result<Running<'a>, ProgramFailure> {
        let not_started = |e: std::io::Error| {
            let msg = format!("{} cannot be run: {e}", self.executable.display());
            ProgramFailure::NotRun(Error::new(ErrorCode::IO, msg))
        };
        let mut child = Command::new(&self.executable)
            .env("CNI_COMMAND", verb.as_str())
            .envs(environment)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(not_started)?;
        let stdin = child.stdin.take().map(|pipe| Input { pipe, rest: config });
        Ok(Running { program: self, verb, child, stdin, finished: false })
    }

    fn judge(&self, verb: Verb, status: ExitStatus, output: Vec<u8>) -> Result<Vec<u8>, ProgramFailure> {
        if status.success() {
            return Ok(output);
        }
        if let Some(error) = Error::from_json(&output) {
            return Err(ProgramFailure::Refused(error));
        }
        let how = match status.signal() {
            Some(signal) => format!("was killed by signal {signal} during {}", verb.as_str()),
            None => format!("failed {} ({status}) and printed no CNI error", verb.as_str()),
        };
        Err(self.unclear(ErrorCode::INTERNAL, how, &output))
    }

    fn unclear(&self, code: ErrorCode, what: String, output: &[u8]) -> ProgramFailure {
        let printed = String::from_utf8_lossy(&output[..output.len().min(200)]).into_owned();
        let printed = if output.is_empty() { String::new() } else { format!(", it printed {printed:?}") };
        let details = format!("executable {}{printed}", self.executable.display());
        ProgramFailure::Unclear(Error::new(code, what).with_details(details))
    }
}

/// A plugin that was started. Dropped before it was sent its config, it is ended and has done nothing.
pub(crate) struct Running<'a> {
    program: &'a Program,
    verb: Verb,
    child: Child,
    stdin: Option<Input<'a>>,
    finished: bool,
}

impl Running<'_> {
    /// Sends the config, as much of it as the pipe takes at once; the rest is sent while the plugin is waited for.
    pub(crate) fn send(&mut self) {
        self.stdin = self.stdin.take().and_then(Input::write);
    }

    /// Waits for the end and reads the result; one that does not say its version has `version`.
    pub(crate) fn result(self, version: SpecVersion, deadline: Option<Duration>) -> Result<CniResult, ProgramFailure> {
        let program = self.program;
        let output = self.finish(deadline)?;
        let read = serde_json::from_slice::<Value>(&output)
            .map_err(|e| Error::new(ErrorCode::DECODE, format!("not JSON: {e}")))
            .and_then(|value| CniResult::from_value(&value, version));
        read.map_err(|e| program.unclear(e.code, format!("printed no valid result: {}", e.msg), &output))
    }

    /// Waits for the end and returns what it printed.
    fn finish(mut self, deadline: Option<Duration>) -> Result<Vec<u8>, ProgramFailure> {
        self.send();
        self.finished = true;
        let (program, verb) = (self.program, self.verb);
        let output = match collect(&mut self.child, self.stdin.take(), deadline) {
            Ok(Some(output)) => output,
            unfinished => {
                end(&mut self.child);
                let limit = deadline.unwrap_or_default().as_secs();
                let why = match unfinished {
                    Err(e) => format!("could not be heard: {e}"),
                    Ok(_) => format!("did not finish {} within {limit} s and was killed", verb.as_str()),
                };
                return Err(program.unclear(ErrorCode::TRY_AGAIN_LATER, why, &[]));
            }
        };
        let status = self.child.wait().map_err(|e| program.unclear(ErrorCode::IO, e.to_string(), &[]))?;
        program.judge(verb, status, output)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if !self.finished {
            end(&mut self.child);
        }
    }
}

/// Kills and reaps a process of our own, so its ID cannot have been reused.
fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

/// A config on its way into a child's stdin.
struct Input<'a> {
    pipe: ChildStdin,
    rest: &'a [u8],
}

impl Input<'_> {
    /// Writes what the pipe takes; `None` when all of it is written, or the child does not want it.
    fn write(mut self) -> Option<Self> {
        // A full pipe must not block us: the child may be deaf, or busy printing.
        let flags = fcntl_getfl(&self.pipe).ok()?;
        fcntl_setfl(&self.pipe, flags | OFlags::NONBLOCK).ok()?;
        while !self.rest.is_empty() {
            match self.pipe.write(self.rest) {
                Ok(written) => self.rest = &self.rest[written..],
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Some(self),
                Err(_) => return None,
            }
        }
        None
    }
}

/// What the child prints until it exits, `input` being written meanwhile; `None` if it has not exited after `limit`. A
/// grandchild that keeps the pipe open is not waited for.
fn collect(
    child: &mut Child,
    mut input: Option<Input<'_>>,
    limit: Option<Duration>,
) -> std::io::Result<Option<Vec<u8>>> {
    let Some(mut stdout) = child.stdout.take() else { return Ok(Some(Vec::new())) };
    fcntl_setfl(&stdout, fcntl_getfl(&stdout)? | OFlags::NONBLOCK)?;
    let exited = pidfd_open(Pid::from_child(child), PidfdFlags::empty())?;
    let end = limit.map(|limit| Instant::now() + limit);
    let mut output = Vec::new();
    let mut open = true;
    loop {
        let left = end.map(|end| {
            let left = end.saturating_duration_since(Instant::now());
            Timespec { tv_sec: left.as_secs().try_into().unwrap_or(i64::MAX), tv_nsec: left.subsec_nanos().into() }
        });
        let mut fds = vec![PollFd::new(&exited, PollFlags::IN)];
        if open {
            fds.push(PollFd::new(&stdout, PollFlags::IN));
        }
        if let Some(input) = &input {
            fds.push(PollFd::new(&input.pipe, PollFlags::OUT));
        }
        match poll(&mut fds, left.as_ref()) {
            Ok(0) => return Ok(None),
            Err(rustix::io::Errno::INTR) => continue,
            Err(e) => return Err(e.into()),
            Ok(_) => {}
        }
        let has_exited = !fds[0].revents().is_empty();
        input = input.and_then(Input::write);
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
pub(crate) mod tests {
    use std::sync::{Mutex, PoisonError};

    use super::*;

    /// A script still open for writing in a child that another test is just forking cannot be run (ETXTBSY): one at a time.
    pub(crate) static FORKING: Mutex<()> = Mutex::new(());

    #[test]
    fn a_child_that_does_not_end_is_killed_and_a_grandchild_is_not_waited_for() {
        let _alone = FORKING.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sleeper = Command::new("sleep").arg("1000").stdout(Stdio::piped()).spawn().unwrap();
        assert!(collect(&mut sleeper, None, Some(Duration::from_millis(10))).unwrap().is_none());
        sleeper.kill().unwrap();
        sleeper.wait().unwrap();

        // The grandchild holds stdout open until its stdin, which we hold, is closed.
        let script = ["-c", "exec 3<&0; cat <&3 & echo done"];
        let mut parent = Command::new("sh").args(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let output = collect(&mut parent, None, None).unwrap();
        assert_eq!(output.as_deref(), Some(&b"done\n"[..]));
        parent.wait().unwrap();
    }
}
