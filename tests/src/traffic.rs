//! Packets between namespaces.

use std::io::{Error, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt::ReceiveTimeout};
use nix::sys::time::{TimeVal, TimeValLike};

use crate::Namespace;

/// How long a packet may take before it counts as lost.
const LOST: Duration = Duration::from_secs(LOST_SECONDS.cast_unsigned());
const LOST_SECONDS: i64 = 5;

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

    /// Connects from here to `to`, which the node translates to port `port` of `server`, and exchanges a few bytes.
    pub fn tcp_published(&self, to: SocketAddr, server: &Namespace, port: u16) -> Result<(), String> {
        let step = |what: &str, e: Error| format!("TCP to {to}: {what}: {e}");
        let listener = server.run(|| TcpListener::bind(("0.0.0.0", port))).map_err(|e| step("listen", e))?;
        // Somebody else may have taken the connection.
        setsockopt(&listener, ReceiveTimeout, &TimeVal::seconds(LOST_SECONDS)).map_err(|e| step("listen", e.into()))?;
        let mut client = self.run(|| TcpStream::connect_timeout(&to, LOST)).map_err(|e| step("connect", e))?;
        let (mut served, _) = listener.accept().map_err(|e| step("accept", e))?;
        for stream in [&client, &served] {
            stream.set_read_timeout(Some(LOST)).map_err(|e| step("receive", e))?;
        }
        client.write_all(b"hello").map_err(|e| step("send", e))?;
        served.read_exact(&mut [0; 5]).map_err(|e| step("receive", e))?;
        served.write_all(b"there").map_err(|e| step("answer", e))?;
        client.read_exact(&mut [0; 5]).map_err(|e| step("receive the answer", e))
    }

    /// Asks the HTTP server at `to` for `path` and returns the body of what it answers.
    pub fn http(&self, to: SocketAddr, path: &str) -> Result<String, String> {
        let step = |what: &str, e: Error| format!("HTTP to {to}: {what}: {e}");
        let mut client = self.run(|| TcpStream::connect_timeout(&to, LOST)).map_err(|e| step("connect", e))?;
        client.set_read_timeout(Some(LOST)).map_err(|e| step("receive", e))?;
        client.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).map_err(|e| step("send", e))?;
        let mut answer = String::new();
        client.read_to_string(&mut answer).map_err(|e| step("receive", e))?;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        if head.contains(" 200 ") { Ok(body.to_owned()) } else { Err(format!("HTTP to {to}: {answer}")) }
    }

    /// Panics unless a connection from here to `to` is refused: nobody listens and nothing is translated.
    #[track_caller]
    pub fn refused(&self, to: SocketAddr) {
        let connected = self.run(|| TcpStream::connect_timeout(&to, LOST));
        assert!(connected.as_ref().is_err_and(|e| e.kind() == ErrorKind::ConnectionRefused), "{to}: {connected:?}");
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
