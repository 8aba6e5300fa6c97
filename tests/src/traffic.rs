//! Packets between namespaces.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use crate::Namespace;

/// How long a packet may take before it counts as lost.
const LOST: Duration = Duration::from_secs(5);

impl Namespace {
    /// Panics unless `to` answers an echo request sent from here.
    #[track_caller]
    pub fn ping(&self, to: IpAddr) {
        self.sh(&["ping", "-n", "-c", "1", "-W", "5", &to.to_string()]);
    }

    /// Connects from here to a TCP server in `server` at its address `to`, exchanges a few bytes, and returns the
    /// client's address as the server saw it. An error says at which step the connection failed.
    pub fn tcp(&self, server: &Namespace, to: IpAddr) -> Result<IpAddr, String> {
        let step = |what: &str, e: std::io::Error| format!("TCP to {to}: {what}: {e}");
        let listener = server.run(|| TcpListener::bind((to, 0))).map_err(|e| step("listen", e))?;
        let address = listener.local_addr().map_err(|e| step("listen", e))?;
        let mut client = self.run(|| TcpStream::connect_timeout(&address, LOST)).map_err(|e| step("connect", e))?;
        let (mut served, peer) = listener.accept().map_err(|e| step("accept", e))?;
        served.set_read_timeout(Some(LOST)).map_err(|e| step("receive", e))?;
        client.write_all(b"hello").map_err(|e| step("send", e))?;
        served.read_exact(&mut [0; 5]).map_err(|e| step("receive", e))?;
        Ok(peer.ip())
    }

    /// Sends a datagram from here to a UDP socket in `server` at its address `to`, and returns the sender's address as
    /// the server saw it.
    pub fn udp(&self, server: &Namespace, to: IpAddr) -> Result<IpAddr, String> {
        let step = |what: &str, e: std::io::Error| format!("UDP to {to}: {what}: {e}");
        let receiver = server.run(|| UdpSocket::bind((to, 0))).map_err(|e| step("bind", e))?;
        let address = receiver.local_addr().map_err(|e| step("bind", e))?;
        receiver.set_read_timeout(Some(LOST)).map_err(|e| step("receive", e))?;
        let any = SocketAddr::new(if to.is_ipv4() { [0; 4].into() } else { [0u16; 8].into() }, 0);
        let sender = self.run(|| UdpSocket::bind(any)).map_err(|e| step("bind", e))?;
        sender.send_to(b"hello", address).map_err(|e| step("send", e))?;
        let (_, peer) = receiver.recv_from(&mut [0; 16]).map_err(|e| step("receive", e))?;
        Ok(peer.ip())
    }
}
