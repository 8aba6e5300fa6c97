//! Namespaces to test in, and `nft` to look with.

use std::{
    process::Command,
    sync::mpsc::{Sender, channel},
    thread::{self, JoinHandle},
};

use nft::{Family, Nft, Table, Transaction};
use nix::sched::{CloneFlags, unshare};

/// The table most tests use.
pub const T: Table = Table::new(Family::Inet, "podlink_test");

type Job = Box<dyn FnOnce() + Send>;

/// A network namespace: a thread that lives in it. It is gone with the thread, also when a test fails.
pub struct Namespace {
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    /// Path of its file, while it lives.
    pub path: String,
}

impl Namespace {
    pub fn new() -> Namespace {
        let (jobs, queue) = channel::<Job>();
        let (ready, path) = channel();
        let thread = thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).expect("these tests make network namespaces: run them as root");
            let tid = nix::unistd::gettid();
            ready.send(format!("/proc/{}/task/{tid}/ns/net", std::process::id())).unwrap();
            for job in queue {
                job();
            }
        });
        let path = path.recv().unwrap();
        let namespace = Namespace { jobs: Some(jobs), thread: Some(thread), path };
        namespace.command("ip", &["link", "set", "lo", "up"]);
        namespace
    }

    /// Runs on the namespace's thread.
    pub fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        let (answer, result) = channel();
        let job = move || drop(answer.send(std::panic::catch_unwind(std::panic::AssertUnwindSafe(job))));
        self.jobs.as_ref().unwrap().send(Box::new(job)).unwrap();
        match result.recv().unwrap() {
            Ok(value) => value,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    pub fn nft(&self) -> Nft {
        self.run(|| Nft::open().unwrap())
    }

    /// Output of a program run inside; it must succeed.
    pub fn command(&self, program: &str, arguments: &[&str]) -> String {
        let program = program.to_owned();
        let arguments: Vec<String> = arguments.iter().map(|argument| argument.to_string()).collect();
        self.run(move || {
            let output = Command::new(&program).args(&arguments).output().unwrap();
            let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            assert!(output.status.success(), "{program} {arguments:?}: {err}");
            out.into_owned()
        })
    }

    /// `nft list ruleset`, each line trimmed.
    pub fn ruleset(&self) -> String {
        self.command("nft", &["list", "ruleset"]).lines().map(|line| line.trim().to_owned() + "\n").collect()
    }

    /// A file of the namespace's `/proc/sys/net`.
    pub fn sysctl(&self, path: &str, value: &str) {
        let (path, value) = (format!("/proc/sys/net/{path}"), value.to_owned());
        self.run(move || std::fs::write(path, value).unwrap());
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A transaction that makes table `T` and then what `more` adds.
pub fn with_table(more: impl FnOnce(&mut Transaction)) -> Transaction {
    let mut tx = Transaction::new();
    tx.add_table(&T);
    more(&mut tx);
    tx
}
