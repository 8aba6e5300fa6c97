use netlink_packet_core::Emitable;

use super::*;

/// The attributes of a message as they go out, without `tcmsg`.
fn attributes(message: &TcMessage) -> Vec<u8> {
    let mut bytes = vec![0; message.buffer_len()];
    message.emit(&mut bytes);
    bytes.split_off(HEADER)
}

/// Bytes from the hexadecimal text that strace shows.
fn bytes(text: &str) -> Vec<u8> {
    let digits: String = text.split_whitespace().collect();
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

const ONE: Handle = Handle { major: 1, minor: 0 };
const MEGABYTE: Rate = Rate { bytes_per_second: 1_000_000, burst: 16_384 };

#[test]
#[cfg(target_endian = "little")]
fn a_token_bucket_is_what_tc_sends_less_its_rate_table() {
    // tc qdisc add dev v0 root handle 1: tbf rate 8mbit burst 16384 limit 41384
    let qdisc = Qdisc::TokenBucket { rate: MEGABYTE, limit: 41_384 };
    let expected = bytes(
        "0800 0100 74626600  3400 0200
         2800 0100 03010000 ffff0000 40420f00  00000000 00000000 00000000  a8a10000 00e80300 00000000
         0800 0600 00400000",
    );
    let message = message(7, Handle::ROOT, ONE, &qdisc);
    assert_eq!(attributes(&message), expected);
    assert_eq!((u32::from(message.header.handle), u32::from(message.header.parent)), (65_536, 0xffff_ffff));
}

#[test]
#[cfg(target_endian = "little")]
fn an_htb_and_its_class_are_what_tc_sends() {
    // tc qdisc add dev ifb9 root handle 1: htb default 30
    let expected = bytes("0800 0100 68746200  1c00 0200  1800 0200 03000000 0a000000 30000000 00000000 00000000");
    assert_eq!(attributes(&message(7, Handle::ROOT, ONE, &Qdisc::Htb { default_class: 0x30 })), expected);
    // tc class add dev ifb9 parent 1: classid 1:30 htb rate 8mbit burst 16384 cburst 16384; ours names a quantum
    let class = HtbClass { id: Handle { major: 1, minor: 0x30 }, rate: MEGABYTE };
    let expected = bytes(
        "0800 0100 68746200  3400 0200
         3000 0100 03010000 ffff0000 40420f00  03010000 ffff0000 40420f00
         00e80300 00e80300 204e0000 00000000 00000000",
    );
    let message = class.message(7);
    assert_eq!(attributes(&message), expected);
    assert_eq!((u32::from(message.header.handle), u32::from(message.header.parent)), (65_584, 65_536));
}

#[test]
fn a_rate_beyond_32_bits_has_its_own_attribute() {
    let rate = Rate { bytes_per_second: 12_500_000_000, burst: 1 };
    let sent = attributes(&message(7, Handle::ROOT, ONE, &Qdisc::TokenBucket { rate, limit: 1 }));
    let wide = rate.bytes_per_second.to_ne_bytes();
    assert!(sent.windows(8).any(|window| window == wide));
}

#[test]
#[cfg(target_endian = "little")]
fn filters_are_what_tc_sends() {
    // tc filter add dev v0 parent ffff: prio 1 protocol all u32 match u32 0 0 action mirred egress redirect dev ifb9
    let expected = bytes(
        "0800 0100 75333200  6000 0200
         3800 0700 3400 0100 0b00 0100 6d6972726564 0000  2400 0280 2000 0200
         00000000 00000000 04000000 00000000 00000000 01000000 04000000
         2400 0500 01000100 00000000 00000000 00000000 00000000 00000000 00000000 00000000",
    );
    let message = filter::redirect(7, 4);
    assert_eq!(attributes(&message), expected);
    assert_eq!((u32::from(message.header.parent), message.header.info), (0xffff_0000, 66_304));

    // tc filter add dev ifb9 parent 1: prio 16 protocol ip u32 match ip src 10.1.0.0/16 classid 1:1
    let class = Handle { major: 1, minor: 1 };
    let filter = SubnetFilter { subnet: "10.1.0.0/16".parse().unwrap(), side: Side::Source, class };
    let expected = bytes(
        "0800 0100 75333200  3000 0200  0800 0100 01000100
         2400 0500 01000100 00000000 00000000 00000000  ffff0000 0a010000 0c000000 00000000",
    );
    let message = filter.message(7);
    assert_eq!(attributes(&message), expected);
    assert_eq!(message.header.info, 1_048_584);
}
