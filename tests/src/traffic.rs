//! Packets between namespaces.

use std::io::{Error, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use nix::sys::socket::{setsockopt, sockopt::ReceiveTimeout};
use nix::sys::time::{TimeVal, TimeValLike};

use crate::Namespace;

/// How long a packet may take before it counts as lost.
pub const LOST: Duration = Duration::from_secs(5);

/// Every address of a family.
fn any(like: IpAddr) -> IpAddr {
    if like.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() }
}

/// Binds a fixed port. The last socket there may still be open in a process that another test is just starting.
pub(crate) fn bound<T>(bind: impl Fn() -> Result<T, Error>) -> Result<T, Error> {
    let end = Instant::now() + LOST;
    loop {
        match bind() {
            Err(e) if e.kind() == ErrorKind::AddrInUse && Instant::now() < end => std::thread::yield_now(),
            bound => return bound,
        }
    }
}

/// Connects to `to` and says a few words, where `listener` is to answer; the client's address as that saw it.
fn converse(
    client: &Namespace,
    to: SocketAddr,
    listener: Result<TcpListener, Error>,
    wait: Duration,
) -> Result<IpAddr, String> {
    let step = |what: &str, e: Error| format!("TCP to {to}: {what}: {e}");
    let listener = listener.map_err(|e| step("listen", e))?;
    // Somebody else may have taken the connection.
    let patience = TimeVal::milliseconds(i64::try_from(wait.as_millis()).unwrap_or(i64::MAX));
    setsockopt(&listener, ReceiveTimeout, &patience).map_err(|e| step("listen", e.into()))?;
    let mut connection = client.run(|| TcpStream::connect_timeout(&to, wait)).map_err(|e| step("connect", e))?;
    let (mut served, peer) = listener.accept().map_err(|e| step("accept", e))?;
    for stream in [&connection, &served] {
        stream.set_read_timeout(Some(wait)).map_err(|e| step("receive", e))?;
    }
    connection.write_all(b"hello").map_err(|e| step("send", e))?;
    served.read_exact(&mut [0; 5]).map_err(|e| step("receive", e))?;
    served.write_all(b"there").map_err(|e| step("answer", e))?;
    connection.read_exact(&mut [0; 5]).map_err(|e| step("receive the answer", e))?;
    Ok(peer.ip())
}

/// Sends a datagram from `socket` to `to`, which the node translates to port `port` of `server`, and has it answered; the
/// sender's address as the server saw it.
pub fn udp_exchange(
    socket: &UdpSocket,
    to: SocketAddr,
    server: &Namespace,
    port: u16,
    wait: Duration,
) -> Result<IpAddr, String> {
    let step = |what: &str, e: Error| format!("UDP to {to}: {what}: {e}");
    let receiver = bound(|| server.run(|| UdpSocket::bind((any(to.ip()), port)))).map_err(|e| step("bind", e))?;
    for end in [&receiver, socket] {
        end.set_read_timeout(Some(wait)).map_err(|e| step("receive", e))?;
    }
    socket.connect(to).and_then(|()| socket.send(b"hello")).map_err(|e| step("send", e))?;
    let (_, peer) = receiver.recv_from(&mut [0; 16]).map_err(|e| step("receive", e))?;
    receiver.send_to(b"there", peer).map_err(|e| step("answer", e))?;
    socket.recv(&mut [0; 16]).map_err(|e| step("receive the answer", e))?;
    Ok(peer.ip())
}

impl Namespace {
    /// Panics unless `to` answers an echo request sent from here.
    #[track_caller]
    pub fn ping(&self, to: IpAddr) {
        self.sh(&["ping", "-n", "-c", "1", "-W", "5", &to.to_string()]);
    }

    /// Connects from here to a TCP server in `server` at its address `to`, exchanges a few bytes, and returns the
    /// client's address as the server saw it. An error says at which step the connection failed.
    pub fn tcp(&self, server: &Namespace, to: IpAddr) -> Result<IpAddr, String> {
        let listener = server.run(|| TcpListener::bind((to, 0)));
        let address = listener.as_ref().map_or(SocketAddr::new(to, 0), |l| l.local_addr().unwrap_or((to, 0).into()));
        converse(self, address, listener, LOST)
    }

    /// Connects from here to `to`, which the node translates to port `port` of `server`, and exchanges a few bytes both ways;
    /// the client's address as the server saw it. `wait` is how long a packet may take before it counts as lost.
    pub fn tcp_published(
        &self,
        to: SocketAddr,
        server: &Namespace,
        port: u16,
        wait: Duration,
    ) -> Result<IpAddr, String> {
        let listener = bound(|| server.run(|| TcpListener::bind((any(to.ip()), port))));
        converse(self, to, listener, wait)
    }

    /// The same with a datagram and its answer, which must come from where the first was sent.
    pub fn udp_published(
        &self,
        to: SocketAddr,
        server: &Namespace,
        port: u16,
        wait: Duration,
    ) -> Result<IpAddr, String> {
        let socket = self.run(|| UdpSocket::bind((any(to.ip()), 0))).map_err(|e| format!("UDP to {to}: bind: {e}"))?;
        udp_exchange(&socket, to, server, port, wait)
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
        let sender = self.run(|| UdpSocket::bind((any(to), 0))).map_err(|e| step("bind", e))?;
        sender.send_to(b"hello", address).map_err(|e| step("send", e))?;
        let (_, peer) = receiver.recv_from(&mut [0; 16]).map_err(|e| step("receive", e))?;
        Ok(peer.ip())
    }
}
