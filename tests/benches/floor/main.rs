//! The floor that the benchmark measures against: the bare netlink messages of a bridge ADD and DEL, in a process of their
//! own. No JSON, no address store, no waiting until the port forwards, no undo, no owner.
//!
//! usage: bench-floor ADD BRIDGE HOST_NAME NETNS ADDRESS/PREFIX GATEWAY
//!        bench-floor DEL HOST_NAME

mod message;

use std::fs::File;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::process::ExitCode;

use message::{Message, address, attribute, default_route, link, text};
use nix::errno::Errno;
use nix::libc;
use nix::net::if_::if_nametoindex;
use nix::sched::{CloneFlags, setns};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket};

/// Attributes of `RTM_NEWLINK` that libc does not have (linux/if_link.h, linux/veth.h).
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const VETH_INFO_PEER: u16 = 1;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments[..] {
        ["ADD", bridge, host, netns, address, gateway] => add(bridge, host, netns, address, gateway),
        ["DEL", host] => del(host),
        _ => Err("usage: bench-floor ADD BRIDGE HOST_NAME NETNS ADDRESS/PREFIX GATEWAY | DEL HOST_NAME".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench-floor: {error}");
            ExitCode::FAILURE
        }
    }
}

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn add(bridge: &str, host: &str, netns: &str, cidr: &str, gateway: &str) -> Outcome {
    let (ip, prefix) = cidr.split_once('/').ok_or("an address needs a prefix")?;
    let (ip, prefix): (Ipv4Addr, u8) = (ip.parse()?, prefix.parse()?);
    let gateway: Ipv4Addr = gateway.parse()?;
    let pod = File::open(netns)?;

    // The pair: the pod's end born inside the pod, the node's a port of the bridge and up.
    let peer = [
        link(0, false),
        attribute(libc::IFLA_IFNAME, &text("eth0")),
        attribute(libc::IFLA_NET_NS_FD, &pod.as_raw_fd().to_ne_bytes()),
    ];
    let data = attribute(IFLA_INFO_DATA, &attribute(VETH_INFO_PEER, &peer.concat()));
    let pair = Message::new(libc::RTM_NEWLINK, libc::NLM_F_CREATE | libc::NLM_F_EXCL, &link(0, true))
        .attribute(libc::IFLA_IFNAME, &text(host))
        .attribute(libc::IFLA_MASTER, &if_nametoindex(bridge)?.to_ne_bytes())
        .attribute(libc::IFLA_LINKINFO, &[attribute(IFLA_INFO_KIND, b"veth"), data].concat());
    exchange(&open()?, &[pair])?;

    // The rest, in one datagram. The process ends soon: it need not come back to the node.
    setns(pod.as_fd(), CloneFlags::CLONE_NEWNET)?;
    let eth0 = if_nametoindex("eth0")?;
    let addressed = Message::new(libc::RTM_NEWADDR, libc::NLM_F_CREATE | libc::NLM_F_EXCL, &address(eth0, prefix))
        .attribute(libc::IFA_LOCAL, &ip.octets())
        .attribute(libc::IFA_ADDRESS, &ip.octets());
    let up = Message::new(libc::RTM_NEWLINK, 0, &link(eth0, true));
    let routed = Message::new(libc::RTM_NEWROUTE, libc::NLM_F_CREATE | libc::NLM_F_EXCL, &default_route())
        .attribute(libc::RTA_GATEWAY, &gateway.octets())
        .attribute(libc::RTA_OIF, &eth0.to_ne_bytes());
    exchange(&open()?, &[addressed, up, routed])
}

fn del(host: &str) -> Outcome {
    let gone = Message::new(libc::RTM_DELLINK, 0, &link(0, false)).attribute(libc::IFLA_IFNAME, &text(host));
    exchange(&open()?, &[gone])
}

fn open() -> Result<OwnedFd, Errno> {
    socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkRoute)
}

/// Sends the messages in one datagram and reads their acknowledgements.
fn exchange(socket: &OwnedFd, messages: &[Message]) -> Outcome {
    let mut open = messages.len();
    let bytes: Vec<u8> = messages.iter().flat_map(|message| message.bytes()).collect();
    send(socket.as_raw_fd(), &bytes, MsgFlags::empty())?;
    let mut buffer = [0; 8192];
    while open > 0 {
        let length = recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
        let mut rest = &buffer[..length];
        while let [a, b, c, d, ..] = *rest {
            let length = u32::from_ne_bytes([a, b, c, d]) as usize;
            let error = rest.get(16..20).and_then(|code| code.try_into().ok()).map_or(0, i32::from_ne_bytes);
            if error != 0 {
                return Err(Errno::from_raw(-error).into());
            }
            open = open.saturating_sub(1);
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
    }
    Ok(())
}
