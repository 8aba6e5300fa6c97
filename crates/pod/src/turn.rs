//! One call at a time for an attachment.
//!
//! Runtimes must not call ADD and DEL of one attachment at once, and yet do when a call has taken them too long. The name of the
//! pair on the node then is no safeguard: a DEL gives it up before it releases the address, which an ADD that comes in between
//! would keep and the DEL release under it. So both take turns.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use cni::{Error, ErrorCode};
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

use crate::owner::Owner;

/// A byte of this file stands for each attachment; nothing is ever written to it.
const FILE: &str = "/run/podlink-attachments.lock";
/// An earlier call may wait for its IPAM plugin, or for the kernel.
const DEADLINE: Duration = Duration::from_secs(30);

/// An attachment's turn, until it is dropped or the process ends, however it ends.
#[derive(Debug)]
pub struct Turn {
    _file: File,
}

impl Turn {
    /// Waits until no other call is at work on the attachment.
    ///
    /// # Errors
    /// Code 11, with the process that is; code 5 where the file cannot be had.
    pub fn take(owner: &Owner) -> Result<Turn, Error> {
        Turn::take_within(owner, FILE, DEADLINE)
    }

    fn take_within(owner: &Owner, path: &str, deadline: Duration) -> Result<Turn, Error> {
        let failed = |e: io::Error| Error::new(ErrorCode::IO, format!("locking {path}: {e}"));
        let file = File::options().create(true).append(true).open(path).map_err(failed)?;
        let range = range(owner);
        match fcntl(&file, FcntlArg::F_SETLK(&range)) {
            Ok(_) => return Ok(Turn { _file: file }),
            Err(nix::Error::EAGAIN | nix::Error::EACCES | nix::Error::EINTR) => {}
            Err(e) => return Err(failed(e.into())),
        }
        // The kernel wakes it, on a thread of its own; a turn that comes after the deadline ends there.
        let (sender, receiver) = mpsc::channel();
        let waiting = file.try_clone().map_err(failed)?;
        let waiter = move || {
            let locked = loop {
                match fcntl(&waiting, FcntlArg::F_SETLKW(&range)) {
                    Err(nix::Error::EINTR) => {}
                    done => break done,
                }
            };
            let _ = sender.send(locked.map(drop).map(|()| waiting));
        };
        thread::Builder::new().name("turn".to_owned()).spawn(waiter).map_err(failed)?;
        match receiver.recv_timeout(deadline) {
            Ok(locked) => locked.map(|file| Turn { _file: file }).map_err(|e| failed(e.into())),
            Err(_) => {
                let msg = format!("another call is at work on {} of network {:?}", owner.attachment, owner.network);
                let holder = holder(&file, range).map_or("a process".to_owned(), |pid| format!("process {pid}"));
                let details = format!("{holder} has its turn for more than {} s ({path})", deadline.as_secs());
                Err(Error::new(ErrorCode::TRY_AGAIN_LATER, msg).with_details(details))
            }
        }
    }
}

/// The attachment's byte: where its digits in the name of the pair point to.
fn range(owner: &Owner) -> libc::flock {
    libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: owner.number().cast_signed(),
        l_len: 1,
        l_pid: 0,
    }
}

fn holder(file: impl AsFd, mut range: libc::flock) -> Option<i32> {
    fcntl(file, FcntlArg::F_GETLK(&mut range)).ok()?;
    (range.l_type != libc::F_UNLCK as libc::c_short).then_some(range.l_pid)
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};

    use cni::Attachment;

    use super::*;

    fn owner(container_id: &str) -> Owner {
        let attachment = Attachment { container_id: container_id.to_owned(), ifname: "eth0".to_owned() };
        Owner { network: "net".to_owned(), attachment }
    }

    /// Another process, since these locks are a process's: this test, started again to take the turn and keep it until its input
    /// ends.
    #[test]
    fn helper() {
        let Ok(path) = std::env::var("PODLINK_TEST_TURN") else { return };
        let _turn = Turn::take_within(&owner("c1"), &path, DEADLINE).unwrap();
        println!("taken");
        let _ = io::stdin().lines().count();
    }

    #[test]
    fn a_second_call_waits_and_names_the_first() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock").to_string_lossy().into_owned();
        let mut first = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "turn::tests::helper", "--nocapture"])
            .env("PODLINK_TEST_TURN", &path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(first.stdout.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap().contains("taken")));

        Turn::take_within(&owner("c2"), &path, Duration::ZERO).unwrap();
        let error = Turn::take_within(&owner("c1"), &path, Duration::ZERO).unwrap_err();
        assert_eq!(error.code, ErrorCode::TRY_AGAIN_LATER);
        assert!(error.to_string().contains(&format!("process {}", first.id())), "{error}");

        let second = thread::spawn(move || Turn::take_within(&owner("c1"), &path, DEADLINE).map(drop));
        drop(first.stdin.take());
        first.wait().unwrap();
        second.join().unwrap().unwrap();
    }
}
