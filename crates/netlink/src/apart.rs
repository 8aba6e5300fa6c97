//! A process of its own that waits for the kernel in our place.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, OwnedFd, RawFd},
};

use nix::{
    errno::Errno,
    fcntl::OFlag,
    libc,
    unistd::{ForkResult, fork, pipe2},
};

/// `struct nlmsghdr`, and the number that follows it in an acknowledgement.
const HEADER: usize = 16;
const ACK: usize = HEADER + 4;

/// Sends a netlink request in a new process. What it returns gives one byte once the kernel has acknowledged the request, and
/// ends without one if it was refused, or the process ended before.
///
/// The kernel works on a request within `send`, and a process cannot end before that comes back, not even one of its threads.
/// This one keeps no file of ours open, so that nobody waits for it, and ends with the kernel's work.
///
/// # Errors
/// Where no process or pipe can be had: nothing has been sent.
pub(crate) fn send(socket: &impl AsRawFd, request: &[u8]) -> io::Result<OwnedFd> {
    let (answer, said) = pipe2(OFlag::O_CLOEXEC)?;
    // SAFETY: what `work` calls is async-signal-safe, and all memory it uses is there before: other threads, which the new
    // process does not have, may have held any lock.
    match unsafe { fork() }? {
        ForkResult::Parent { .. } => Ok(answer),
        ForkResult::Child => work(socket.as_raw_fd(), said.as_fd().as_raw_fd(), request),
    }
}

fn work(socket: RawFd, said: RawFd, request: &[u8]) -> ! {
    close_all_but([socket.min(said), socket.max(said)]);
    let mut answer = [0u8; 128];
    // SAFETY: the descriptors are open and the pointers and lengths are those of slices; none of these functions needs
    // anything else of the process.
    unsafe {
        while libc::send(socket, request.as_ptr().cast(), request.len(), 0) < 0 && Errno::last() == Errno::EINTR {}
        let length = libc::recv(socket, answer.as_mut_ptr().cast(), answer.len(), libc::MSG_DONTWAIT);
        if usize::try_from(length).is_ok_and(|length| length >= ACK) && answer[HEADER..ACK] == [0; 4] {
            libc::write(said, answer.as_ptr().cast(), 1);
        }
        libc::_exit(0)
    }
}

/// Whoever started us waits until nobody has our stdout and stderr open, and a lock lasts until its file is closed everywhere.
fn close_all_but([low, high]: [RawFd; 2]) {
    let close = |from: RawFd, to: libc::c_uint| {
        // SAFETY: closes descriptors only, which nothing in this process uses any more.
        unsafe { libc::syscall(libc::SYS_close_range, from, to, 0) }
    };
    let below = |fd: RawFd| fd.unsigned_abs().saturating_sub(1);
    if low > 0 {
        close(0, below(low));
    }
    if high > low + 1 {
        close(low + 1, below(high));
    }
    if close(high + 1, libc::c_uint::MAX) < 0 {
        // Before Linux 5.9. Of the rest, nothing is a lock that outlives us by more than the kernel's work.
        for fd in (0..=2).filter(|fd| ![low, high].contains(fd)) {
            // SAFETY: as above.
            unsafe { libc::close(fd) };
        }
    }
}
