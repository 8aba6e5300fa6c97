//! Netlink messages as bytes: writing them, and scanning what comes back without building anything.

use crate::table::Family;

/// `NFNL_SUBSYS_NFTABLES << 8`.
const NFTABLES: u16 = 10 << 8;
/// `NFNL_MSG_BATCH_BEGIN`.
pub(crate) const BATCH_BEGIN: u16 = 0x10;
/// `NFNL_MSG_BATCH_END`.
pub(crate) const BATCH_END: u16 = 0x11;
/// `struct nlmsghdr` and `struct nfgenmsg`.
pub(crate) const HEADERS: usize = NLMSG_HEADER + 4;
pub(crate) const NLMSG_HEADER: usize = 16;
/// `NLA_F_NESTED`.
const NESTED: u16 = 0x8000;

/// Messages of nf_tables (`enum nf_tables_msg_types`).
pub(crate) mod msg {
    pub const NEW_TABLE: u16 = 0;
    pub const GET_TABLE: u16 = 1;
    pub const DEL_TABLE: u16 = 2;
    pub const NEW_CHAIN: u16 = 3;
    pub const GET_CHAIN: u16 = 4;
    pub const DEL_CHAIN: u16 = 5;
    pub const NEW_RULE: u16 = 6;
    pub const GET_RULE: u16 = 7;
    pub const DEL_RULE: u16 = 8;
    pub const NEW_SET: u16 = 9;
    pub const GET_SET: u16 = 10;
    pub const DEL_SET: u16 = 11;
    pub const NEW_ELEMENT: u16 = 12;
    pub const GET_ELEMENT: u16 = 13;
    pub const DEL_ELEMENT: u16 = 14;
    pub const NEW_GENERATION: u16 = 15;
    pub const GET_GENERATION: u16 = 16;
    pub const DESTROY_TABLE: u16 = 26;
    pub const DESTROY_CHAIN: u16 = 27;
    pub const DESTROY_RULE: u16 = 28;
    pub const DESTROY_SET: u16 = 29;
    pub const DESTROY_ELEMENT: u16 = 30;
}

/// Attributes (`NFTA_*` of linux/netfilter/nf_tables.h), grouped by the message or expression they belong to.
pub(crate) mod attr {
    pub const LIST_ELEM: u16 = 1;
    pub const DATA_VALUE: u16 = 1;
    pub const DATA_VERDICT: u16 = 2;
    pub const VERDICT_CODE: u16 = 1;
    pub const VERDICT_CHAIN: u16 = 2;
    pub const EXPR_NAME: u16 = 1;
    pub const EXPR_DATA: u16 = 2;

    pub const TABLE_NAME: u16 = 1;

    pub const CHAIN_TABLE: u16 = 1;
    pub const CHAIN_HANDLE: u16 = 2;
    pub const CHAIN_NAME: u16 = 3;
    pub const CHAIN_HOOK: u16 = 4;
    pub const CHAIN_POLICY: u16 = 5;
    pub const CHAIN_TYPE: u16 = 7;
    pub const CHAIN_USERDATA: u16 = 12;
    pub const HOOK_NUMBER: u16 = 1;
    pub const HOOK_PRIORITY: u16 = 2;
    pub const HOOK_DEVICE: u16 = 3;

    pub const RULE_TABLE: u16 = 1;
    pub const RULE_CHAIN: u16 = 2;
    pub const RULE_HANDLE: u16 = 3;
    pub const RULE_EXPRESSIONS: u16 = 4;
    pub const RULE_USERDATA: u16 = 7;

    pub const SET_TABLE: u16 = 1;
    pub const SET_NAME: u16 = 2;
    pub const SET_FLAGS: u16 = 3;
    pub const SET_KEY_TYPE: u16 = 4;
    pub const SET_KEY_LEN: u16 = 5;
    pub const SET_DATA_TYPE: u16 = 6;
    pub const SET_DATA_LEN: u16 = 7;
    pub const SET_DESC: u16 = 9;
    pub const SET_ID: u16 = 10;
    pub const SET_USERDATA: u16 = 13;
    pub const SET_DESC_CONCAT: u16 = 2;
    pub const SET_FIELD_LEN: u16 = 1;

    pub const ELEM_LIST_TABLE: u16 = 1;
    pub const ELEM_LIST_SET: u16 = 2;
    pub const ELEM_LIST_ELEMENTS: u16 = 3;
    pub const ELEM_KEY: u16 = 1;
    pub const ELEM_DATA: u16 = 2;
    pub const ELEM_FLAGS: u16 = 3;
    pub const ELEM_USERDATA: u16 = 6;
    pub const ELEM_KEY_END: u16 = 10;

    pub const GEN_ID: u16 = 1;
}

/// A buffer that messages are written into one after the other.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    pub bytes: Vec<u8>,
}

impl Writer {
    /// One nf_tables message, with the attributes that `body` writes.
    pub fn message(&mut self, kind: u16, flags: u16, seq: u32, family: Family, body: impl FnOnce(&mut Writer)) {
        self.raw_message(NFTABLES | kind, flags, seq, family.number(), 0, body);
    }

    /// One message of any subsystem; `resource` is `nfgenmsg.res_id`.
    pub fn raw_message(
        &mut self,
        kind: u16,
        flags: u16,
        seq: u32,
        family: u8,
        resource: u16,
        body: impl FnOnce(&mut Writer),
    ) {
        let start = self.bytes.len();
        self.bytes.extend([0; 4]);
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend(flags.to_ne_bytes());
        self.bytes.extend(seq.to_ne_bytes());
        self.bytes.extend([0; 4]);
        self.bytes.extend([family, 0]);
        self.bytes.extend(resource.to_be_bytes());
        body(self);
        // A batch is far below 4 GiB; a longer one fails at the socket.
        let length = (self.bytes.len() - start) as u32;
        self.bytes[start..start + 4].copy_from_slice(&length.to_ne_bytes());
    }

    /// The subsystem's batch frame.
    pub fn batch(&mut self, kind: u16, seq: u32, body: impl FnOnce(&mut Writer)) {
        self.raw_message(kind, 1, seq, 0, NFTABLES >> 8, body);
    }

    pub fn bytes(&mut self, kind: u16, value: &[u8]) {
        let length = (4 + value.len()) as u16;
        self.bytes.extend(length.to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend(value);
        self.pad();
    }

    pub fn string(&mut self, kind: u16, value: &str) {
        let length = (4 + value.len() + 1) as u16;
        self.bytes.extend(length.to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend(value.as_bytes());
        self.bytes.push(0);
        self.pad();
    }

    pub fn u32(&mut self, kind: u16, value: u32) {
        self.bytes(kind, &value.to_be_bytes());
    }

    pub fn u64(&mut self, kind: u16, value: u64) {
        self.bytes(kind, &value.to_be_bytes());
    }

    pub fn nest(&mut self, kind: u16, body: impl FnOnce(&mut Writer)) {
        let start = self.bytes.len();
        self.bytes.extend([0; 2]);
        self.bytes.extend((kind | NESTED).to_ne_bytes());
        body(self);
        let length = (self.bytes.len() - start) as u16;
        self.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

/// A message found in what the kernel sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Message<'a> {
    pub kind: u16,
    pub flags: u16,
    pub seq: u32,
    /// Everything after `nlmsghdr`.
    pub body: &'a [u8],
}

impl<'a> Message<'a> {
    /// The nf_tables message number, if it is one.
    pub fn nftables(&self) -> Option<u16> {
        (self.kind & 0xff00 == NFTABLES).then_some(self.kind & 0xff)
    }

    pub fn family(&self) -> Option<Family> {
        self.body.first().copied().and_then(Family::from_number)
    }

    /// The attributes after `nfgenmsg`.
    pub fn attributes(&self) -> Attributes<'a> {
        Attributes(self.body.get(4..).unwrap_or_default())
    }

    /// `NFNL_MSG_*` bodies and `nlmsgerr` start with a 32-bit number.
    pub fn code(&self) -> Option<i32> {
        Some(i32::from_ne_bytes(self.body.get(..4)?.try_into().ok()?))
    }
}

/// The messages of one datagram; ends at the first that is cut off.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Messages<'a>(pub &'a [u8]);

impl<'a> Iterator for Messages<'a> {
    type Item = Message<'a>;

    fn next(&mut self) -> Option<Message<'a>> {
        let header = self.0.get(..NLMSG_HEADER)?;
        let length = usize::try_from(u32::from_ne_bytes(header[..4].try_into().ok()?)).ok()?;
        let body = self.0.get(NLMSG_HEADER..length)?;
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(Message {
            kind: u16::from_ne_bytes(header[4..6].try_into().ok()?),
            flags: u16::from_ne_bytes(header[6..8].try_into().ok()?),
            seq: u32::from_ne_bytes(header[8..12].try_into().ok()?),
            body,
        })
    }
}

/// An attribute found in a message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attribute<'a> {
    /// Without the flags.
    pub kind: u16,
    pub value: &'a [u8],
}

impl<'a> Attribute<'a> {
    pub fn u32(&self) -> Option<u32> {
        self.value.try_into().ok().map(u32::from_be_bytes)
    }

    pub fn u64(&self) -> Option<u64> {
        self.value.try_into().ok().map(u64::from_be_bytes)
    }

    pub fn str(&self) -> Option<&'a str> {
        std::str::from_utf8(self.value.split(|byte| *byte == 0).next()?).ok()
    }

    pub fn nested(&self) -> Attributes<'a> {
        Attributes(self.value)
    }
}

/// A run of attributes; ends at the first that is cut off.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attributes<'a>(pub &'a [u8]);

impl<'a> Attributes<'a> {
    pub fn find(mut self, kind: u16) -> Option<Attribute<'a>> {
        Iterator::find(&mut self, |attribute| attribute.kind == kind)
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Attribute<'a>;

    fn next(&mut self) -> Option<Attribute<'a>> {
        let header = self.0.get(..4)?;
        let length = usize::from(u16::from_ne_bytes([header[0], header[1]]));
        let kind = u16::from_ne_bytes([header[2], header[3]]) & 0x3fff;
        let value = self.0.get(4..length)?;
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(Attribute { kind, value })
    }
}

/// User data as `nft` lays it out (libnftnl `udata.h`): type, length and value, one byte each for the first two.
/// Only the text under `kind` is of interest.
pub(crate) fn comment_to_udata(kind: u8, comment: &str) -> Vec<u8> {
    let mut bytes = vec![kind, (comment.len() + 1) as u8];
    bytes.extend(comment.as_bytes());
    bytes.push(0);
    bytes
}

/// The text under `kind` in user data.
pub(crate) fn comment_from_udata(kind: u8, mut udata: &[u8]) -> Option<String> {
    while let [found, length, rest @ ..] = udata {
        let value = rest.get(..usize::from(*length))?;
        if *found == kind {
            let text = value.split(|byte| *byte == 0).next().unwrap_or_default();
            return Some(String::from_utf8_lossy(text).into_owned());
        }
        udata = rest.get(usize::from(*length)..)?;
    }
    None
}
