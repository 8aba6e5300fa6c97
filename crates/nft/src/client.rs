//! The socket: the one path to the kernel.

mod commit;
mod parting;
mod query;

use std::os::fd::AsRawFd;

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};
use nix::{
    libc,
    sys::socket::{setsockopt, sockopt},
};

use crate::{
    error::{Error, Missing, Refusal},
    wire::{Attributes, HEADERS, Message, Messages, NLMSG_HEADER},
};

pub use query::{ChainInfo, SetInfo};

/// The kernel never builds a longer answer: a dump comes in parts of at most 32 KiB.
const RECEIVE_BUFFER: usize = 64 * 1024;
/// How often something is tried again that a concurrent change or a signal interrupted.
const ATTEMPTS: usize = 64;

/// An nf_tables socket, for one network namespace: that of the thread which opened it.
///
/// Dropping it does not wait until the kernel has freed what was deleted, here or by anybody else.
#[derive(Debug)]
pub struct Nft {
    socket: Socket,
    /// Dropped after `socket`, as fields are in their order.
    parting: Option<parting::Parting>,
    seq: u32,
    buffer: Vec<u8>,
    /// The kernel knows no `NFT_MSG_DESTROY*` (before 6.3).
    no_destroy: bool,
    /// How long a batch the socket takes, in bytes.
    send_limit: usize,
}

/// The default of `net.core.wmem_default`, less what the kernel keeps of it (`netlink_sendmsg`). A smaller setting is
/// found out by `EMSGSIZE`.
const DEFAULT_SEND_LIMIT: usize = 212_992 - 32;

impl Nft {
    /// Opens a socket in the calling thread's network namespace. Nothing is sent yet.
    pub fn open() -> Result<Nft, Error> {
        let failed = |source| Error::io("open an nf_tables netlink socket", source);
        let socket = Socket::new(NETLINK_NETFILTER).map_err(|source| match source.raw_os_error() {
            Some(libc::EPROTONOSUPPORT | libc::EAFNOSUPPORT) => Error::Unsupported {
                operation: "open an nf_tables netlink socket".to_owned(),
                detail: source.to_string(),
            },
            _ => failed(source),
        })?;
        socket.connect(&SocketAddr::new(0, 0)).map_err(failed)?;
        // Both only make errors better and acknowledgements shorter: an old kernel may lack them.
        let _ = socket.set_ext_ack(true);
        let _ = socket.set_cap_ack(true);
        Ok(Nft {
            socket,
            parting: None,
            seq: 0,
            buffer: Vec::with_capacity(RECEIVE_BUFFER),
            no_destroy: false,
            send_limit: DEFAULT_SEND_LIMIT,
        })
    }

    fn next_seq(&mut self, messages: u32) -> u32 {
        let seq = self.seq;
        self.seq = seq.wrapping_add(messages);
        seq
    }

    /// Sends, with a buffer grown to fit: a batch is one datagram, or it would not be atomic.
    fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        if bytes.len() > self.send_limit {
            self.grow(bytes.len());
        }
        loop {
            match self.socket.send(bytes, 0) {
                Ok(_) => return Ok(()),
                Err(error) if error.raw_os_error() == Some(libc::EINTR) => {}
                Err(error) if error.raw_os_error() == Some(libc::EMSGSIZE) && self.send_limit < bytes.len() * 2 => {
                    self.grow(bytes.len() * 2);
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn grow(&mut self, length: usize) {
        let wanted = length.saturating_add(4096);
        // The forced size needs CAP_NET_ADMIN in the first user namespace; without it the limit net.core.wmem_max holds.
        if setsockopt(&self.socket, sockopt::SndBufForce, &wanted).is_err() {
            let _ = setsockopt(&self.socket, sockopt::SndBuf, &wanted);
        }
        self.send_limit = wanted;
    }

    /// Reads the next datagram. Netlink answers before `send` returns and continues dumps inside `recv`, so there is
    /// never anything to wait for: no datagram (`None`) means that the kernel has said all it will.
    fn receive(&mut self) -> std::io::Result<Option<usize>> {
        loop {
            let flags = libc::MSG_DONTWAIT | libc::MSG_TRUNC;
            self.buffer.clear();
            match self.socket.recv(&mut self.buffer, flags) {
                Ok(length) if length > self.buffer.len() => {
                    return Err(std::io::Error::other(format!("an answer of {length} bytes does not fit the buffer")));
                }
                Ok(length) => return Ok(Some(length)),
                Err(error) => match error.raw_os_error() {
                    Some(libc::EINTR) => {}
                    Some(libc::EAGAIN) => return Ok(None),
                    _ => return Err(error),
                },
            }
        }
    }

    fn messages(&self, length: usize) -> Messages<'_> {
        Messages(self.buffer.get(..length).unwrap_or_default())
    }
}

impl Drop for Nft {
    fn drop(&mut self) {
        self.parting = parting::leave_to_kernel(self.socket.as_raw_fd());
    }
}

/// An acknowledgement (`NLMSG_ERROR`), good or bad.
#[derive(Debug, Clone)]
struct Ack {
    seq: u32,
    /// Positive, as in `errno(3)`; 0 is success.
    errno: i32,
    /// `NLMSGERR_ATTR_MSG`.
    detail: Option<String>,
    /// `NLMSGERR_ATTR_OFFS`: where in the request the attribute is that the kernel objects to.
    offset: Option<usize>,
}

/// `NLMSG_ERROR` and `NLMSG_DONE` of linux/netlink.h.
const ERROR: u16 = 2;
const DONE: u16 = 3;
const FLAG_CAPPED: u16 = 0x100;
const FLAG_ACK_TLVS: u16 = 0x200;

impl Ack {
    fn from_message(message: &Message<'_>) -> Option<Ack> {
        if message.kind != ERROR {
            return None;
        }
        let mut ack = Ack { seq: message.seq, errno: message.code()?.saturating_neg(), detail: None, offset: None };
        if message.flags & FLAG_ACK_TLVS != 0 {
            let request = message.body.get(4..)?;
            let length = u32::from_ne_bytes(request.get(..4)?.try_into().ok()?);
            let skip = if message.flags & FLAG_CAPPED != 0 {
                NLMSG_HEADER
            } else {
                usize::try_from(length).ok()?.next_multiple_of(4)
            };
            for attribute in Attributes(request.get(skip..).unwrap_or_default()) {
                match attribute.kind {
                    1 => ack.detail = attribute.str().map(|text| format!("kernel: {text}")),
                    2 => {
                        let offset = attribute.value.try_into().ok().map(u32::from_ne_bytes);
                        ack.offset = offset.and_then(|offset| usize::try_from(offset).ok());
                    }
                    _ => {}
                }
            }
        }
        Some(ack)
    }

    fn refusal(self, operation: String, index: Option<usize>) -> Refusal {
        Refusal { operation, index, errno: self.errno, detail: self.detail }
    }
}

/// Which of a message's names the kernel objects to, and which element, from the offset of the attribute.
fn objected(request: &[u8], offset: Option<usize>) -> (Missing, Option<usize>) {
    use crate::wire::{attr, msg};
    let Some(message) = Messages(request).next() else { return (Missing::Unknown, None) };
    let Some(offset) = offset else { return (Missing::Unknown, None) };
    let attributes = message.body.get(4..).unwrap_or_default();
    let mut position = HEADERS;
    for attribute in Attributes(attributes) {
        let end = position + (4 + attribute.value.len()).next_multiple_of(4);
        if offset < end {
            let missing = match (message.nftables(), attribute.kind) {
                // The table is the first attribute of every message.
                (_, attr::TABLE_NAME) => Missing::Table,
                (Some(msg::NEW_CHAIN | msg::DEL_CHAIN | msg::DESTROY_CHAIN | msg::GET_CHAIN), attr::CHAIN_NAME)
                | (Some(msg::NEW_RULE | msg::DEL_RULE | msg::DESTROY_RULE | msg::GET_RULE), attr::RULE_CHAIN) => {
                    Missing::Chain
                }
                (Some(msg::NEW_RULE | msg::DEL_RULE | msg::DESTROY_RULE), _) => Missing::Rule,
                (Some(msg::NEW_SET | msg::DEL_SET | msg::DESTROY_SET | msg::GET_SET), attr::SET_NAME) => Missing::Set,
                (_, attr::ELEM_LIST_SET) => Missing::Set,
                (_, attr::ELEM_LIST_ELEMENTS) => {
                    return (Missing::Element, element_at(attribute.nested(), position + 4, offset));
                }
                _ => Missing::Unknown,
            };
            return (missing, None);
        }
        position = end;
    }
    (Missing::Unknown, None)
}

/// The number of the list entry that `offset` lies in, the list starting at `position`.
fn element_at(list: Attributes<'_>, mut position: usize, offset: usize) -> Option<usize> {
    for (index, entry) in list.enumerate() {
        position += (4 + entry.value.len()).next_multiple_of(4);
        if offset < position {
            return Some(index);
        }
    }
    None
}
