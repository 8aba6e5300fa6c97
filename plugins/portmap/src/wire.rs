//! One netlink request and its answers, as bytes: the two questions of this plugin that no crate of the workspace asks.

use std::io;

use netlink_sys::{Socket, SocketAddr};

/// `struct nlmsghdr`.
const HEADER: usize = 16;
const REQUEST: u16 = 0x1;
/// `NLM_F_ACK`: the answer to what changes something.
pub const ACK: u16 = 0x4;
/// `NLM_F_DUMP`.
pub const DUMP: u16 = 0x300;
/// `NLM_F_DUMP_INTR`.
const INTERRUPTED: u16 = 0x10;
/// `NLA_F_NESTED`.
const NESTED: u16 = 0x8000;
const ERROR: u16 = 2;
const DONE: u16 = 3;
/// The kernel's parts of a dump are at most 32 KiB.
const BUFFER: usize = 64 * 1024;

/// A netlink socket in the namespace of the thread that opened it.
pub struct Wire {
    socket: Socket,
    seq: u32,
}

impl Wire {
    /// Opens a socket of a netlink protocol (`NETLINK_ROUTE`, `NETLINK_NETFILTER`).
    ///
    /// # Errors
    /// The system's.
    pub fn open(protocol: isize) -> io::Result<Wire> {
        let socket = Socket::new(protocol)?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Wire { socket, seq: 0 })
    }

    /// Sends a message and hands the body of each that answers to `read`. True when all of it is from one moment.
    ///
    /// # Errors
    /// The kernel's error number, or the socket's.
    pub fn ask(&mut self, kind: u16, flags: u16, body: &[u8], read: &mut dyn FnMut(&[u8])) -> io::Result<bool> {
        self.seq += 1;
        let mut message = Vec::with_capacity(HEADER + body.len());
        message.extend(((HEADER + body.len()) as u32).to_ne_bytes());
        message.extend(kind.to_ne_bytes());
        message.extend((REQUEST | flags).to_ne_bytes());
        message.extend(self.seq.to_ne_bytes());
        message.extend(0u32.to_ne_bytes());
        message.extend(body);
        while let Err(error) = self.socket.send(&message, 0) {
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
        let mut buffer = vec![0; BUFFER];
        let mut whole = true;
        loop {
            let length = match self.socket.recv(&mut buffer.as_mut_slice(), 0) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                received => received?,
            };
            let mut rest = buffer.get(..length).unwrap_or_default();
            while let Some((header, message)) = next(&mut rest) {
                if header.seq != self.seq {
                    continue;
                }
                whole &= header.flags & INTERRUPTED == 0;
                let code = message.first_chunk().map_or(0, |bytes| i32::from_ne_bytes(*bytes));
                match header.kind {
                    DONE | ERROR if code < 0 => return Err(io::Error::from_raw_os_error(-code)),
                    DONE | ERROR => return Ok(whole),
                    _ => read(message),
                }
                if flags & (ACK | DUMP) == 0 {
                    return Ok(whole);
                }
            }
        }
    }
}

struct Header {
    kind: u16,
    flags: u16,
    seq: u32,
}

fn next<'a>(rest: &mut &'a [u8]) -> Option<(Header, &'a [u8])> {
    let length = usize::try_from(u32::from_ne_bytes(*rest.first_chunk()?)).ok()?;
    let message = rest.get(..length)?;
    let header = Header {
        kind: u16::from_ne_bytes(*message.get(4..)?.first_chunk()?),
        flags: u16::from_ne_bytes(*message.get(6..)?.first_chunk()?),
        seq: u32::from_ne_bytes(*message.get(8..)?.first_chunk()?),
    };
    *rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    Some((header, message.get(HEADER..)?))
}

/// Appends an attribute.
pub fn put(out: &mut Vec<u8>, kind: u16, value: &[u8]) {
    out.extend(((4 + value.len()) as u16).to_ne_bytes());
    out.extend(kind.to_ne_bytes());
    out.extend(value);
    out.resize(out.len().next_multiple_of(4), 0);
}

/// Appends an attribute that holds attributes.
pub fn put_nested(out: &mut Vec<u8>, kind: u16, body: impl FnOnce(&mut Vec<u8>)) {
    let mut inner = Vec::new();
    body(&mut inner);
    put(out, kind | NESTED, &inner);
}

/// The value of the first attribute of this kind.
pub fn find(mut attributes: &[u8], kind: u16) -> Option<&[u8]> {
    loop {
        let length = usize::from(u16::from_ne_bytes(*attributes.first_chunk()?));
        let found = u16::from_ne_bytes(*attributes.get(2..)?.first_chunk()?) & !NESTED & !0x4000;
        let value = attributes.get(4..length)?;
        if found == kind {
            return Some(value);
        }
        attributes = attributes.get(length.next_multiple_of(4)..)?;
    }
}
