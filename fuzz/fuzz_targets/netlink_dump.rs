//! Answers of the kernel: rtnetlink messages, and values of nf_tables elements.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nft::{FieldType, Key, Value};

/// Every type of message that a dump of ours is answered with: links, addresses, routes, qdiscs, classes, filters.
const KINDS: [u16; 6] = [16, 20, 24, 36, 40, 44];

const TYPES: [FieldType; 15] = [
    FieldType::Ipv4Addr,
    FieldType::Ipv6Addr,
    FieldType::EtherAddr,
    FieldType::InetProto,
    FieldType::InetService,
    FieldType::Mark,
    FieldType::IfName,
    FieldType::IfIndex,
    FieldType::EtherType,
    FieldType::NfProto,
    FieldType::PktType,
    FieldType::FibAddrType,
    FieldType::CtState,
    FieldType::CtStatus,
    FieldType::CtDirection,
];

fuzz_target!(|bytes: &[u8]| {
    let [kind, body @ ..] = bytes else { return };
    let _ = netlink::fuzz::read(KINDS[usize::from(*kind) % KINDS.len()], body);
    for kind in TYPES {
        if let Some(value) = Value::from_bytes(kind, body) {
            let _ = value.to_bytes();
        }
        let _ = Key::from_bytes(&[kind, kind], body);
    }
});
