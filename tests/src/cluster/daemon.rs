//! A server program in a pod's namespace, in the foreground, until it is dropped.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Instant;

use crate::{Namespace, need, process};

/// A running program. The kernel kills it when the test process dies.
#[derive(Debug)]
pub struct Daemon {
    stop: Option<mpsc::Sender<()>>,
    keeper: Option<JoinHandle<()>>,
    log: PathBuf,
}

impl Daemon {
    /// Starts a command line that stays in the foreground; what it prints is in the file `log`.
    pub fn start(place: &Namespace, line: &[&str], log: &Path) -> Self {
        let [program, args @ ..] = line else { panic!("an empty command line") };
        let mut command = Command::new(need::tool("setpriv"));
        command.args(["--pdeathsig", "KILL"]).arg(need::tool(program)).args(args).stdin(Stdio::null());
        let file = || std::fs::File::options().create(true).append(true).open(log);
        let (Ok(stdout), Ok(stderr)) = (file(), file()) else { panic!("cannot make {}", log.display()) };
        command.stdout(stdout).stderr(stderr);
        let place = place.clone_handle();
        let (stop, stopped) = mpsc::channel::<()>();
        let (started, starts) = mpsc::channel();
        // The parent-death signal is tied to the thread that started the process, so that thread stays.
        let keeper = std::thread::spawn(move || {
            place.run(move || {
                let child = command.spawn();
                let _ = started.send(child.as_ref().err().map(ToString::to_string));
                let Ok(mut child) = child else { return };
                let _ = stopped.recv();
                process::end(&mut child);
            });
        });
        match starts.recv() {
            Ok(None) => Self { stop: Some(stop), keeper: Some(keeper), log: log.to_owned() },
            failed => panic!("cannot start {line:?}: {failed:?}"),
        }
    }

    /// Tries `ready` until it succeeds. Panics with the program's log when it does not within [`process::DEADLINE`].
    #[track_caller]
    pub fn wait_until<T>(&self, ready: impl Fn() -> Result<T, String>) -> T {
        let end = Instant::now() + process::DEADLINE;
        loop {
            match ready() {
                Ok(answer) => return answer,
                Err(_) if Instant::now() < end => std::thread::yield_now(),
                Err(e) => {
                    let log = std::fs::read_to_string(&self.log).unwrap_or_default();
                    panic!("not ready in {} s: {e}\nlog:\n{log}", process::DEADLINE.as_secs())
                }
            }
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        drop(self.stop.take());
        let _ = self.keeper.take().map(JoinHandle::join);
    }
}
