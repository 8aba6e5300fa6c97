//! Runs a plugin under ptrace and disturbs one of its system calls: kills the process there, or makes the call fail.
//!
//! strace's injection counts the calls of each thread, and of each name, by themselves: the second process's first write
//! hides behind the first one's. Here the calls of all threads and processes are counted in one row, as they come, so
//! that 1, 2, 3 … until nothing is hit reaches every one of them.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, mpsc};

use nix::errno::Errno;
use nix::libc::{self, c_long};
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::need;
use crate::process::{DEADLINE, Finished};

/// Which system calls count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Calls<'a> {
    /// Those that change something beyond the process, or that may: killed in between two of them, a process leaves the
    /// same as killed at the second. Files that are only read, and waking a thread of the same process, do not count.
    Effects,
    /// Those that wait, or may, and that a signal may end with EINTR. A call on a file that does not block never does.
    Waiting,
    /// All.
    Every,
    /// These, with commas: `sendto,write`.
    Named(&'a str),
}

/// What happens at the chosen call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing: the calls are only counted.
    None,
    /// The process that makes the call is killed before it is done, as by the OOM killer; those it has started go on.
    Kill,
    /// So are all that belong to the plugin's call, as when their service is killed.
    KillAll,
    /// The call is not done, and returns this. Only calls of the plugin and its delegates count then: other programs see
    /// to themselves.
    Fail(Errno),
}

/// How it went.
#[derive(Debug, Clone)]
pub struct Disturbed {
    /// The plugin's own process; its delegates have ended, too.
    pub finished: Finished,
    /// The call that was hit: `host-local: renameat2`. `None` when there were fewer calls.
    pub hit: Option<String>,
    /// How many calls there were, up to the end or the kill.
    pub seen: usize,
}

/// asm-generic/ioctls.h; libc gives it another type with each C library.
const FIONBIO: u64 = 0x5421;
/// Calls with an effect; `open` and `openat` when they may write, `write` when it is not to an
/// eventfd, `ioctl` when it does more than to make a file non-blocking.
const EFFECTS: &[(&str, c_long)] = &[
    ("clone", libc::SYS_clone),
    ("clone3", libc::SYS_clone3),
    ("execve", libc::SYS_execve),
    ("fallocate", libc::SYS_fallocate),
    ("fchmod", libc::SYS_fchmod),
    ("fchmodat", libc::SYS_fchmodat),
    ("fdatasync", libc::SYS_fdatasync),
    ("flock", libc::SYS_flock),
    ("fork", libc::SYS_fork),
    ("fremovexattr", libc::SYS_fremovexattr),
    ("fsetxattr", libc::SYS_fsetxattr),
    ("fsync", libc::SYS_fsync),
    ("ftruncate", libc::SYS_ftruncate),
    ("ioctl", libc::SYS_ioctl),
    ("link", libc::SYS_link),
    ("linkat", libc::SYS_linkat),
    ("mkdir", libc::SYS_mkdir),
    ("mkdirat", libc::SYS_mkdirat),
    ("mount", libc::SYS_mount),
    ("open", libc::SYS_open),
    ("openat", libc::SYS_openat),
    ("pwrite64", libc::SYS_pwrite64),
    ("pwritev", libc::SYS_pwritev),
    ("removexattr", libc::SYS_removexattr),
    ("rename", libc::SYS_rename),
    ("renameat", libc::SYS_renameat),
    ("renameat2", libc::SYS_renameat2),
    ("rmdir", libc::SYS_rmdir),
    ("sendmmsg", libc::SYS_sendmmsg),
    ("sendmsg", libc::SYS_sendmsg),
    ("sendto", libc::SYS_sendto),
    ("setns", libc::SYS_setns),
    ("setxattr", libc::SYS_setxattr),
    ("symlink", libc::SYS_symlink),
    ("symlinkat", libc::SYS_symlinkat),
    ("truncate", libc::SYS_truncate),
    ("umount2", libc::SYS_umount2),
    ("unlink", libc::SYS_unlink),
    ("unlinkat", libc::SYS_unlinkat),
    ("unshare", libc::SYS_unshare),
    ("utimensat", libc::SYS_utimensat),
    ("vfork", libc::SYS_vfork),
    ("write", libc::SYS_write),
    ("writev", libc::SYS_writev),
];

/// Calls that may wait.
const WAITING: &[c_long] = &[
    libc::SYS_epoll_wait,
    libc::SYS_flock,
    libc::SYS_poll,
    libc::SYS_read,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_sendmsg,
    libc::SYS_sendto,
    libc::SYS_wait4,
    libc::SYS_write,
];

/// Calls without an effect that a test may name.
const OTHERS: &[(&str, c_long)] = &[
    ("accept4", libc::SYS_accept4),
    ("bind", libc::SYS_bind),
    ("close", libc::SYS_close),
    ("connect", libc::SYS_connect),
    ("copy_file_range", libc::SYS_copy_file_range),
    ("epoll_wait", libc::SYS_epoll_wait),
    ("getdents64", libc::SYS_getdents64),
    ("mmap", libc::SYS_mmap),
    ("newfstatat", libc::SYS_newfstatat),
    ("poll", libc::SYS_poll),
    ("read", libc::SYS_read),
    ("recvfrom", libc::SYS_recvfrom),
    ("recvmsg", libc::SYS_recvmsg),
    ("setsockopt", libc::SYS_setsockopt),
    ("socket", libc::SYS_socket),
    ("statx", libc::SYS_statx),
    ("wait4", libc::SYS_wait4),
];

impl Calls<'_> {
    /// Whether the system call that the thread is entering is one of them.
    fn count(self, task: Pid, registers: &libc::user_regs_struct) -> bool {
        let number = registers.orig_rax.cast_signed();
        let writable = (libc::O_ACCMODE | libc::O_CREAT) as u64;
        match self {
            Calls::Every => true,
            Calls::Waiting => {
                let waits = number != libc::SYS_flock || registers.rsi & libc::LOCK_NB as u64 == 0;
                let on_a_file = !matches!(number, libc::SYS_epoll_wait | libc::SYS_poll | libc::SYS_wait4);
                WAITING.contains(&number) && waits && !(on_a_file && does_not_block(task, registers.rdi))
            }
            Calls::Named(names) => names.split(',').any(|name| number_of(name) == number),
            Calls::Effects => match number {
                libc::SYS_open => registers.rsi & writable != 0,
                libc::SYS_openat => registers.rdx & writable != 0,
                libc::SYS_write => !is_eventfd(task, registers.rdi),
                libc::SYS_ioctl => registers.rsi != FIONBIO,
                _ => EFFECTS.iter().any(|(_, effect)| *effect == number),
            },
        }
    }
}

fn does_not_block(task: Pid, fd: u64) -> bool {
    let info = std::fs::read_to_string(format!("/proc/{task}/fdinfo/{fd}")).unwrap_or_default();
    let flags = info.lines().find_map(|line| i32::from_str_radix(line.strip_prefix("flags:")?.trim(), 8).ok());
    flags.is_some_and(|flags| flags & libc::O_NONBLOCK != 0)
}

fn is_eventfd(task: Pid, fd: u64) -> bool {
    let target = std::fs::read_link(format!("/proc/{task}/fd/{fd}"));
    target.is_ok_and(|target| target.as_os_str() == "anon_inode:[eventfd]")
}

fn number_of(name: &str) -> c_long {
    let known = EFFECTS.iter().chain(OTHERS).find(|(known, _)| *known == name);
    known.unwrap_or_else(|| panic!("add the system call {name} to src/tracer.rs")).1
}

fn name_of(number: c_long) -> String {
    let known = EFFECTS.iter().chain(OTHERS).find(|(_, known)| *known == number);
    known.map_or_else(|| format!("system call {number}"), |(name, _)| (*name).to_owned())
}

/// Runs `command` with `stdin`, with `fault` at the `nth` (1 is the first) of `calls` after the program was loaded, until
/// it and all it has started have ended. Call it on a thread of its own.
#[expect(clippy::zombie_processes, reason = "the tracer waits for every process it traces, and this is one")]
pub(crate) fn disturb(command: &Command, stdin: &[u8], calls: Calls<'_>, nth: usize, fault: Fault) -> Disturbed {
    // The shell waits for a line before it becomes the plugin; by then it is traced.
    let mut held = Command::new(need::tool("sh"));
    held.args(["-c", r#"read -r _ && exec "$0""#]).arg(command.get_program()).env_clear();
    held.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let line = format!("{} ({calls:?} {nth}: {fault:?})", command.get_program().display());
    let mut child = held
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("cannot start `{line}`: {e}"));
    let root = pid_of(&child);
    let options = Options::PTRACE_O_TRACESYSGOOD
        | Options::PTRACE_O_TRACECLONE
        | Options::PTRACE_O_TRACEEXEC
        | Options::PTRACE_O_TRACEFORK
        | Options::PTRACE_O_TRACEVFORK
        | Options::PTRACE_O_EXITKILL;
    ptrace::seize(root, options).unwrap_or_else(|e| panic!("tracing `{line}`: {e}"));
    let tasks = &Mutex::new(BTreeSet::from([root]));
    std::thread::scope(|scope| {
        let mut pipe = child.stdin.take();
        // A process may be killed before it reads; the pipe's other end is gone then.
        scope.spawn(move || pipe.as_mut().map(|p| p.write_all(&[b"\n", stdin].concat())));
        let stdout = read_all(scope, child.stdout.take());
        let stderr = read_all(scope, child.stderr.take());
        let (done, ended) = mpsc::channel::<()>();
        let watch = scope.spawn(move || {
            let late = ended.recv_timeout(DEADLINE) == Err(mpsc::RecvTimeoutError::Timeout);
            if late {
                kill_all(tasks);
            }
            late
        });
        let plugin = Path::new(command.get_program());
        let (inside, begun) = (BTreeMap::new(), false);
        let mut tracer = Tracer { plugin, begun, calls, nth, fault, seen: 0, hit: None, inside, tasks };
        let code = tracer.follow(root);
        let (hit, seen) = (tracer.hit.take(), tracer.seen);
        drop(done);
        let late = watch.join().unwrap_or(true);
        let finished = Finished { command: line, code, stdout: text(stdout), stderr: text(stderr) };
        assert!(!late, "still running after {} s, killed: {finished}", DEADLINE.as_secs());
        Disturbed { finished, hit, seen }
    })
}

fn pid_of(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).unwrap_or_else(|e| panic!("a process ID beyond i32: {e}")))
}

fn read_all<'scope, R: Read + Send + 'scope>(
    scope: &'scope std::thread::Scope<'scope, '_>,
    pipe: Option<R>,
) -> std::thread::ScopedJoinHandle<'scope, Vec<u8>> {
    scope.spawn(move || {
        let mut bytes = Vec::new();
        let _ = pipe.map(|mut pipe| pipe.read_to_end(&mut bytes));
        bytes
    })
}

fn text(collected: std::thread::ScopedJoinHandle<'_, Vec<u8>>) -> String {
    String::from_utf8_lossy(&collected.join().unwrap_or_default()).into_owned()
}

fn locked(tasks: &Mutex<BTreeSet<Pid>>) -> MutexGuard<'_, BTreeSet<Pid>> {
    tasks.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn kill_all(tasks: &Mutex<BTreeSet<Pid>>) {
    for task in locked(tasks).iter() {
        // It may have ended by itself.
        let _ = kill(*task, Signal::SIGKILL);
    }
}

struct Tracer<'a> {
    /// The plugin's program.
    plugin: &'a Path,
    /// Whether it has been loaded: the shell's calls before do not count.
    begun: bool,
    calls: Calls<'a>,
    nth: usize,
    fault: Fault,
    seen: usize,
    hit: Option<String>,
    /// Threads that are in a system call, and what it is to return.
    inside: BTreeMap<Pid, Option<Errno>>,
    tasks: &'a Mutex<BTreeSet<Pid>>,
}

impl Tracer<'_> {
    /// Until the last of them has ended. The exit status of `root`, `None` when a signal ended it.
    fn follow(&mut self, root: Pid) -> Option<i32> {
        let mut code = None;
        loop {
            // Of this thread's children and tracees only: other tests run beside.
            let (task, signal) = match waitpid(None, Some(WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD)) {
                Err(Errno::ECHILD) => return code,
                Err(Errno::EINTR) => continue,
                Err(e) => panic!("waiting for the traced plugin: {e}"),
                Ok(WaitStatus::Exited(task, status)) => {
                    locked(self.tasks).remove(&task);
                    if task == root {
                        code = Some(status);
                    }
                    continue;
                }
                Ok(WaitStatus::Signaled(task, ..)) => {
                    locked(self.tasks).remove(&task);
                    continue;
                }
                Ok(WaitStatus::PtraceSyscall(task)) => {
                    self.system_call(task);
                    (task, None)
                }
                Ok(WaitStatus::PtraceEvent(task, ..)) => {
                    locked(self.tasks).insert(task);
                    self.begun = self.begun || program(task).file_name() == self.plugin.file_name();
                    (task, None)
                }
                Ok(WaitStatus::Stopped(task, signal)) => (task, Some(signal)),
                Ok(_) => continue,
            };
            match ptrace::syscall(task, signal) {
                // Killed meanwhile: the next wait tells.
                Ok(()) | Err(Errno::ESRCH) => {}
                Err(e) => panic!("letting the traced plugin go on: {e}"),
            }
        }
    }

    fn system_call(&mut self, task: Pid) {
        let Ok(mut registers) = ptrace::getregs(task) else { return };
        if let Some(returns) = self.inside.remove(&task) {
            if let Some(errno) = returns {
                registers.rax = i64::from(-(errno as i32)).cast_unsigned();
                let _ = ptrace::setregs(task, registers);
            }
            return;
        }
        // A new thread's first stop is the end of a call that it has not begun.
        if registers.rax.cast_signed() != -i64::from(libc::ENOSYS) {
            return;
        }
        let number = registers.orig_rax.cast_signed();
        self.inside.insert(task, None);
        if !self.begun || self.hit.is_some() || !self.calls.count(task, &registers) {
            return;
        }
        let ours = || program(task).parent() == self.plugin.parent();
        if matches!(self.fault, Fault::Fail(_)) && !ours() {
            return;
        }
        self.seen += 1;
        if self.seen != self.nth {
            return;
        }
        let program = program(task);
        let program = program.file_name().unwrap_or_default().display();
        self.hit = Some(format!("{program}: {}", name_of(number)));
        match self.fault {
            Fault::None => {}
            // The kernel does not begin a call whose caller has been killed at its entry.
            Fault::Kill => drop(kill(task, Signal::SIGKILL)),
            Fault::KillAll => kill_all(self.tasks),
            Fault::Fail(errno) => {
                registers.orig_rax = u64::MAX;
                if ptrace::setregs(task, registers).is_ok() {
                    self.inside.insert(task, Some(errno));
                }
            }
        }
    }
}

fn program(task: Pid) -> PathBuf {
    std::fs::read_link(format!("/proc/{task}/exe")).unwrap_or_default()
}
