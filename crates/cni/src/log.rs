//! The operator's log of calls: where `PODLINK_LOG` or the config's `podlinkLog` says, one line of JSON a call.

use std::borrow::Cow;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::time::{Instant, SystemTime};

use serde::Serialize;

use crate::call::{Call, Variables};
use crate::error::{Error, ErrorCode};
use crate::note::note;
use crate::steps::{Step, Steps, micros};

/// The variable that turns it on: the absolute path of a file, or `stderr`.
const VARIABLE: &str = "PODLINK_LOG";
/// The key that does the same where the variable is not set.
const KEY: &str = "podlinkLog";

/// The log of one call. It never makes a call fail: what keeps it from being written is noted on stderr.
pub(crate) struct Log<'a> {
    plugin: &'static str,
    variables: Variables<'a>,
    start: Instant,
    target: Option<Target>,
    network: Option<String>,
    steps: Steps,
}

enum Target {
    Stderr,
    File(PathBuf),
}

/// The line.
#[derive(Serialize)]
struct Line<'a> {
    /// When the call ended, RFC 3339 in UTC.
    time: String,
    plugin: &'a str,
    verb: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    network: Option<&'a str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    container: Cow<'a, str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    ifname: Cow<'a, str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    netns: Cow<'a, str>,
    pid: u32,
    duration_us: u64,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<ErrorCode>,
    #[serde(skip_serializing_if = "Option::is_none")]
    msg: Option<String>,
    steps: Vec<Step>,
}

impl<'a> Log<'a> {
    /// The call begins.
    pub(crate) fn start(plugin: &'static str, variables: Variables<'a>) -> Log<'a> {
        let set = variables(VARIABLE).filter(|value| !value.is_empty());
        let target = set.and_then(|value| target(VARIABLE, value.into()));
        Log { plugin, variables, start: Instant::now(), target, network: None, steps: Steps::default() }
    }

    /// The call is known, and from now on records its steps if anybody wants to know.
    pub(crate) fn follow(&mut self, call: &mut Call) {
        let network = match call {
            Call::Attachment(_, call, _) => &mut call.network,
            Call::Network(_, call) => call,
            Call::Version => return,
        };
        if self.target.is_none() {
            self.target = network.config.text(KEY).and_then(|value| target(KEY, value.into()));
        }
        if self.target.is_some() {
            self.network = Some(network.config.name.clone());
            self.steps = Steps::since(self.start);
            self.steps.until_now("read the call");
            network.steps = self.steps.clone();
        }
    }

    /// The call has ended, in success or with this error.
    pub(crate) fn write(self, error: Option<&Error>) {
        let Some(target) = &self.target else { return };
        let duration_us = micros(self.start.elapsed());
        let value = |name: &str| {
            let value = (self.variables)(name).unwrap_or_default();
            Cow::Owned(value.to_string_lossy().into_owned())
        };
        let line = Line {
            time: humantime::format_rfc3339_micros(SystemTime::now()).to_string(),
            plugin: self.plugin,
            verb: value("CNI_COMMAND"),
            network: self.network.as_deref(),
            container: value("CNI_CONTAINERID"),
            ifname: value("CNI_IFNAME"),
            netns: value("CNI_NETNS"),
            pid: std::process::id(),
            duration_us,
            outcome: if error.is_some() { "error" } else { "ok" },
            code: error.map(|error| error.code),
            msg: error.map(Error::to_string),
            steps: self.steps.recorded(),
        };
        let written = serde_json::to_vec(&line).map_err(io::Error::from).and_then(|mut bytes| {
            bytes.push(b'\n');
            target.append(&bytes)
        });
        if let Err(error) = written {
            note(format_args!("{}: the log {} cannot be written: {error}", self.plugin, target.name()));
        }
    }
}

impl Target {
    /// One write, so that lines of calls that run at the same time do not mix.
    fn append(&self, line: &[u8]) -> io::Result<()> {
        let written = match self {
            Target::Stderr => io::stderr().write(line)?,
            // To open a pipe without a reader would wait for one.
            Target::File(path) => OpenOptions::new()
                .append(true)
                .create(true)
                .mode(0o640)
                .custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed())
                .open(path)?
                .write(line)?,
        };
        if written == line.len() { Ok(()) } else { Err(io::Error::from(io::ErrorKind::WriteZero)) }
    }

    fn name(&self) -> Cow<'_, str> {
        match self {
            Target::Stderr => Cow::Borrowed("stderr"),
            Target::File(path) => path.to_string_lossy(),
        }
    }
}

fn target(place: &str, value: PathBuf) -> Option<Target> {
    if value.as_os_str() == "stderr" {
        return Some(Target::Stderr);
    }
    if value.is_absolute() {
        return Some(Target::File(value));
    }
    // A runtime starts plugins in whatever directory it is in.
    note(format_args!("{place}={}: expected an absolute path, or stderr; nothing is logged", value.display()));
    None
}
