//! Which way an address is: the kernel's own answer (`RTM_GETROUTE`).

use std::io;
use std::net::IpAddr;

use netlink_sys::protocols::NETLINK_ROUTE;
use nix::libc;
use nix::net::if_::if_indextoname;

use crate::wire::{Wire, find, put};

/// `struct rtmsg`.
const RTMSG: usize = 12;

/// Asks for routes.
pub struct Routes(Wire);

/// A route, as far as anyone here wants to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Way {
    /// Whether the address is the node's own (`RTN_LOCAL`).
    pub local: bool,
    /// The interface, where the address is on its link and not behind a router.
    pub on_link: Option<String>,
}

impl Routes {
    /// Opens a socket in the calling thread's namespace.
    ///
    /// # Errors
    /// The system's.
    pub fn open() -> io::Result<Routes> {
        Wire::open(NETLINK_ROUTE).map(Routes)
    }

    /// The way to an address; `None` when there is none.
    ///
    /// # Errors
    /// The kernel's.
    pub fn to(&mut self, address: IpAddr) -> io::Result<Option<Way>> {
        let (family, octets) = match address {
            IpAddr::V4(v4) => (libc::AF_INET, v4.octets().to_vec()),
            IpAddr::V6(v6) => (libc::AF_INET6, v6.octets().to_vec()),
        };
        let mut body = vec![0; RTMSG];
        // rtm_family and rtm_dst_len.
        body.splice(..2, [family as u8, (octets.len() * 8) as u8]);
        put(&mut body, libc::RTA_DST, &octets);
        let mut way = None;
        let asked = self.0.ask(libc::RTM_GETROUTE, 0, &body, &mut |answer| way = read(answer));
        match asked {
            Ok(_) => Ok(way),
            Err(e)
                if matches!(
                    e.raw_os_error(),
                    Some(libc::ENETUNREACH | libc::EHOSTUNREACH | libc::EACCES | libc::EINVAL)
                ) =>
            {
                Ok(None)
            }
            Err(e) => Err(e),
        }
    }
}

fn read(answer: &[u8]) -> Option<Way> {
    let local = *answer.get(7)? == libc::RTN_LOCAL;
    let attributes = answer.get(RTMSG..)?;
    let routed = [libc::RTA_GATEWAY, libc::RTA_VIA].iter().any(|kind| find(attributes, *kind).is_some());
    let oif = find(attributes, libc::RTA_OIF)?.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))?;
    let name = if_indextoname(oif).ok().and_then(|name| name.into_string().ok());
    Some(Way { local, on_link: name.filter(|_| !routed) })
}
