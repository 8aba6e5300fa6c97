//! Runs one process to its end, with a deadline that turns a hang into a failed test.

use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// How long any process may take before the test fails. Far above what anything needs: it only catches hangs.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// What a process left behind.
#[derive(Debug, Clone)]
pub struct Finished {
    /// The command line, for messages.
    pub command: String,
    /// Exit status; `None` when a signal ended it.
    pub code: Option<i32>,
    /// Everything it wrote to stdout.
    pub stdout: String,
    /// Everything it wrote to stderr.
    pub stderr: String,
}

impl Finished {
    /// Stdout of a process that must have succeeded. Panics with the full account when it did not.
    #[track_caller]
    pub fn success(self) -> String {
        assert!(self.code == Some(0), "{self}");
        self.stdout
    }
}

impl std::fmt::Display for Finished {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.code {
            Some(code) => write!(f, "`{}` exited with {code}", self.command)?,
            None => write!(f, "`{}` was ended by a signal", self.command)?,
        }
        write!(f, "\nstdout: {}\nstderr: {}", self.stdout.trim_end(), self.stderr.trim_end())
    }
}

/// Runs `command` with `stdin` to its end. Panics when it cannot be started or is still running after `deadline`.
#[track_caller]
pub fn run(command: &mut Command, stdin: &[u8], deadline: Duration) -> Finished {
    let line = line(command);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("cannot start `{line}`: {e}"));
    let (done, ended) = mpsc::channel();
    std::thread::scope(|scope| {
        let mut pipe = child.stdin.take();
        scope.spawn(move || {
            // A process may exit without reading its input; its own status tells what happened.
            let _ = pipe.as_mut().map(|p| p.write_all(stdin));
        });
        let stdout = collect(scope, child.stdout.take(), done.clone());
        let stderr = collect(scope, child.stderr.take(), done);
        let in_time = (0..2).all(|_| ended.recv_timeout(deadline).is_ok());
        if !in_time {
            end(&mut child);
        }
        let status = child.wait().unwrap_or_else(|e| panic!("waiting for `{line}`: {e}"));
        let finished = Finished { command: line, code: status.code(), stdout: text(stdout), stderr: text(stderr) };
        assert!(in_time, "still running after {} s, killed: {finished}", deadline.as_secs());
        finished
    })
}

/// Kills a child and reaps it. Quiet when it has ended already.
pub fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

fn collect<'scope, R: Read + Send + 'scope>(
    scope: &'scope std::thread::Scope<'scope, '_>,
    pipe: Option<R>,
    done: mpsc::Sender<()>,
) -> std::thread::ScopedJoinHandle<'scope, Vec<u8>> {
    scope.spawn(move || {
        let mut bytes = Vec::new();
        let _ = pipe.map(|mut p| p.read_to_end(&mut bytes));
        let _ = done.send(());
        bytes
    })
}

fn text(collected: std::thread::ScopedJoinHandle<'_, Vec<u8>>) -> String {
    String::from_utf8_lossy(&collected.join().unwrap_or_default()).into_owned()
}

/// The command line as a person would type it.
fn line(command: &Command) -> String {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|part| part.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}
