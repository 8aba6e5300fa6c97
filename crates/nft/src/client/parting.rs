//! Leaving the last close of a socket to the kernel.
//!
//! To close an nf_tables socket takes the caller 5 to 20 ms after a delete: `nft_rcv_nl_event` waits for the kernel to free
//! what was deleted, whoever deleted it and whoever closes. Nothing that we or our caller do depends on that. So the socket is sent as a
//! message (`SCM_RIGHTS`) to a unix socket that is itself in the message and that nobody else has: the kernel's collector of
//! such cycles (net/unix/garbage.c), which exists because every program can make one, closes both on a worker thread.
//! On kernels before 6.9 it may do so within our own close, which then takes as long as it would have anyway.

use std::{
    io::IoSlice,
    os::fd::{AsRawFd, OwnedFd, RawFd},
};

use nix::sys::socket::{AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, sendmsg, socketpair};

/// Closes what is left of the cycle when dropped, which starts the kernel's collector. Must outlive every other descriptor of
/// the socket.
#[derive(Debug)]
pub(super) struct Parting {
    // Dropped in this order: the collector looks for cycles when a unix socket is closed, here the sender.
    _receiver: OwnedFd,
    _sender: OwnedFd,
}

/// Puts another reference to `socket` into such a cycle. `None` where that cannot be had: closing then takes its time.
pub(super) fn leave_to_kernel(socket: RawFd) -> Option<Parting> {
    let (sender, receiver) = socketpair(AddressFamily::Unix, SockType::Datagram, None, SockFlag::SOCK_CLOEXEC).ok()?;
    let cycle = [socket, receiver.as_raw_fd()];
    let rights = [ControlMessage::ScmRights(&cycle)];
    sendmsg::<()>(sender.as_raw_fd(), &[IoSlice::new(&[0])], &rights, MsgFlags::MSG_DONTWAIT, None).ok()?;
    Some(Parting { _receiver: receiver, _sender: sender })
}

#[cfg(test)]
mod tests {
    use std::{
        fs, thread,
        time::{Duration, Instant},
    };

    use crate::{Family, Nft, Table, Transaction, client::commit::tests::in_namespace};

    /// The nf_tables sockets of the calling thread's namespace (protocol 12 in /proc/net/netlink).
    fn open_sockets() -> usize {
        let sockets = fs::read_to_string("/proc/thread-self/net/netlink").unwrap();
        sockets.lines().filter(|line| line.split_whitespace().nth(1) == Some("12")).count()
    }

    #[test]
    fn the_kernel_closes_it_in_the_end() {
        in_namespace(|| {
            let table = Table::new(Family::Inet, "podlink_parting");
            let before = open_sockets();
            let mut nft = Nft::open().unwrap();
            let mut tx = Transaction::new();
            tx.add_table(&table).delete_table(&table);
            nft.commit(&tx).unwrap();
            drop(nft);
            let begin = Instant::now();
            while open_sockets() > before {
                assert!(begin.elapsed() < Duration::from_secs(30), "the socket is still there");
                thread::yield_now();
            }
        });
    }
}
