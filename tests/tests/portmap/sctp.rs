//! SCTP packets through a host port. The kernel here may have no SCTP of its own (`CONFIG_IP_SCTP`), so both ends are raw
//! sockets; what is tested, the translation, is the same.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, recvfrom, sendto, setsockopt, socket,
    sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};
use podlink_tests::Namespace;
use podlink_tests::outside::{NODE, OUTSIDE};
use serde_json::json;

use crate::ground::*;

const INIT: u8 = 1;
const INIT_ACK: u8 = 2;

/// CRC-32C, bit by bit.
fn checksum(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg()))
    })
}

/// A packet with one chunk: the first of an association, or its answer.
fn packet(from: u16, to: u16, verification: u32, chunk: u8) -> Vec<u8> {
    let mut bytes = [from.to_be_bytes(), to.to_be_bytes()].concat();
    bytes.extend(verification.to_be_bytes());
    bytes.extend([0; 4]);
    // Type, flags, length; tag, window, streams out and in, first number.
    bytes.extend([chunk, 0, 0, 20]);
    bytes.extend(0x1234_5678u32.to_be_bytes());
    bytes.extend(65536u32.to_be_bytes());
    bytes.extend([0, 1, 0, 1]);
    bytes.extend(1u32.to_be_bytes());
    let sum = checksum(&bytes).to_le_bytes();
    bytes[8..12].copy_from_slice(&sum);
    bytes
}

fn raw(place: &Namespace) -> OwnedFd {
    let open = || socket(AddressFamily::Inet, SockType::Raw, SockFlag::empty(), SockProtocol::Sctp);
    let socket = place.run(open).unwrap_or_else(|e| panic!("a raw socket: {e}"));
    setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::seconds(5)).unwrap_or_else(|e| panic!("a timeout: {e}"));
    socket
}

fn send(socket: &OwnedFd, to: Ipv4Addr, bytes: &[u8]) {
    let to = SockaddrIn::from(std::net::SocketAddrV4::new(to, 0));
    sendto(socket.as_raw_fd(), bytes, &to, MsgFlags::empty()).unwrap_or_else(|e| panic!("sending: {e}"));
}

/// The next packet: who sent it, its ports, its first chunk.
fn receive(socket: &OwnedFd) -> Result<(IpAddr, u16, u16, u8), nix::Error> {
    let mut buffer = [0; 256];
    let (length, from) = recvfrom::<SockaddrIn>(socket.as_raw_fd(), &mut buffer)?;
    let bytes = &buffer[20..length];
    let port = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
    let from = from.unwrap_or_else(|| panic!("a packet from nowhere")).ip();
    Ok((from.into(), port(0), port(2), bytes[12]))
}

#[test]
fn an_association_to_a_host_port_reaches_the_pod_and_is_answered() {
    for backend in BACKENDS {
        let ground = Ground::new(&["a"]);
        let call = ground.call(0, json!({ "backend": backend }), json!([port(9999, 99, "sctp")]));
        call.add().success();
        call.check().success();
        let (client, server) = (raw(&ground.outside), raw(ground.pod(0)));
        let SocketAddr::V4(node) = at(NODE[0], 9999) else { panic!("IPv4") };
        send(&client, *node.ip(), &packet(4000, 9999, 0, INIT));
        let outside = ip(OUTSIDE[0]);
        assert_eq!(receive(&server), Ok((outside, 4000, 99, INIT)), "{backend}");
        let IpAddr::V4(back) = outside else { panic!("IPv4") };
        send(&server, back, &packet(99, 4000, 0x1234_5678, INIT_ACK));
        assert_eq!(receive(&client), Ok((ip(NODE[0]), 9999, 4000, INIT_ACK)), "{backend}: translated back");
        call.del().success();
        assert_eq!(ground.owned(), [""; 0]);
    }
}
