//! Waits for the kernel: something is checked again each time rtnetlink reports a change, never after a sleep.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Instant;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket};

use crate::{Namespace, process};

/// `RTMGRP_*` of linux/rtnetlink.h: link, neighbour, and IPv4 and IPv6 addresses and routes.
const GROUPS: u32 = 0x1 | 0x4 | 0x10 | 0x40 | 0x100 | 0x400;

impl Namespace {
    /// Returns as soon as `what` holds, looking again at each change of a link, address, route or neighbour here.
    ///
    /// Panics with `description` when it does not hold within [`process::DEADLINE`].
    #[track_caller]
    pub fn wait_until(&self, description: &str, what: impl Fn(&Namespace) -> bool) {
        // Subscribed before the first look, so that no change falls between.
        let events = self.run(subscribe);
        let end = Instant::now() + process::DEADLINE;
        while !what(self) {
            let left = end.saturating_duration_since(Instant::now());
            let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            let mut ready = [PollFd::new(events.as_fd(), PollFlags::POLLIN)];
            match poll(&mut ready, timeout) {
                Ok(0) => panic!("waited {} s in vain until {description}", process::DEADLINE.as_secs()),
                Ok(_) => drain(&events),
                Err(Errno::EINTR) => {}
                Err(e) => panic!("waiting until {description}: poll: {e}"),
            }
        }
    }
}

fn subscribe() -> OwnedFd {
    let fd = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
        SockProtocol::NetlinkRoute,
    )
    .unwrap_or_else(|e| panic!("rtnetlink socket: {e}"));
    bind(fd.as_raw_fd(), &NetlinkAddr::new(0, GROUPS)).unwrap_or_else(|e| panic!("rtnetlink subscription: {e}"));
    fd
}

/// Throws away what is queued. A queue that overflowed (ENOBUFS) is a reason to look again, too.
fn drain(events: &OwnedFd) {
    let mut message = [0; 16 * 1024];
    loop {
        match recv(events.as_raw_fd(), &mut message, MsgFlags::empty()) {
            Ok(_) | Err(Errno::EINTR | Errno::ENOBUFS) => {}
            Err(Errno::EAGAIN) => return,
            Err(e) => panic!("reading rtnetlink events: {e}"),
        }
    }
}
