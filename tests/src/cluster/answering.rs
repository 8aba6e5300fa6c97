//! A server that says who it is and whom it sees: over HTTP and, on the same port number, in UDP datagrams.

use std::io::{BufRead, BufReader, Error, Write};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde_json::{Value, json};

use crate::Namespace;
use crate::process::DEADLINE;
use crate::traffic::{LOST, bound};

/// A server on one port of a pod, until it is dropped.
#[derive(Debug)]
pub struct Answering {
    /// Closing it ends the server's thread.
    stop: Option<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl Answering {
    /// Serves `port` on every address of `place` under `name`. It answers from the moment that this returns.
    pub fn start(place: &Namespace, name: &str, port: u16) -> Self {
        let any = (Ipv6Addr::UNSPECIFIED, port);
        let sockets = bound(|| place.run(|| Ok::<_, Error>((TcpListener::bind(any)?, UdpSocket::bind(any)?))));
        let (tcp, udp) = sockets.unwrap_or_else(|e| panic!("serving port {port} as {name}: {e}"));
        let (stopped, stop) = nix::unistd::pipe().unwrap_or_else(|e| panic!("pipe: {e}"));
        let name = name.to_owned();
        let thread = std::thread::spawn(move || serve(&name, &tcp, &udp, &stopped));
        Self { stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        drop(self.stop.take());
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn serve(name: &str, tcp: &TcpListener, udp: &UdpSocket, stopped: &OwnedFd) {
    loop {
        let mut ready = [tcp.as_fd(), udp.as_fd(), stopped.as_fd()].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        if poll(&mut ready, PollTimeout::NONE).is_err() {
            continue;
        }
        let [new, datagram, stop] = ready.map(|fd| fd.any().unwrap_or(false));
        if stop {
            return;
        }
        if new && let Ok((connection, _)) = tcp.accept() {
            let name = name.to_owned();
            // Ends with its connection, or when nothing has come for a while.
            std::thread::spawn(move || converse(&name, &connection));
        }
        if datagram && let Ok((_, peer)) = udp.recv_from(&mut [0; 64]) {
            let _ = udp.send_to(answer(name, peer, &[]).as_bytes(), peer);
        }
    }
}

/// Answers the requests of one connection: one for HTTP/1.0, each for HTTP/1.1.
fn converse(name: &str, connection: &TcpStream) {
    let Ok(peer) = connection.peer_addr() else { return };
    let _ = connection.set_read_timeout(Some(DEADLINE));
    let mut lines = BufReader::new(connection).lines();
    loop {
        let head: Vec<String> = lines.by_ref().map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
        let Some(request) = head.first() else { return };
        let body = answer(name, peer, &head);
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        let mut writer = connection;
        if writer.write_all(answer.as_bytes()).is_err() || request.ends_with("HTTP/1.0") {
            return;
        }
    }
}

fn answer(name: &str, peer: SocketAddr, head: &[String]) -> String {
    let header = |wanted: &str| {
        let pairs = head.iter().filter_map(|line| line.split_once(": "));
        pairs.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value.to_owned())
    };
    let path = head.first().and_then(|request| request.split(' ').nth(1));
    let peer = peer.ip().to_canonical();
    json!({ "name": name, "peer": peer, "path": path, "host": header("host"), "for": header("x-forwarded-for") })
        .to_string()
}

/// What a server said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Which server it was.
    pub name: String,
    /// The client's address as it saw it.
    pub peer: IpAddr,
    /// The request's path, for HTTP.
    pub path: String,
    /// The `X-Forwarded-For` header, when a proxy sent it.
    pub forwarded_for: Option<String>,
}

impl Answer {
    /// Reads an answer. Panics when it is none.
    #[track_caller]
    pub fn read(text: &str) -> Self {
        let value: Value = serde_json::from_str(text).unwrap_or_else(|e| panic!("not an answer: {e}: {text:?}"));
        let text = |key: &str| value[key].as_str().map(str::to_owned);
        let peer = text("peer").and_then(|peer| peer.parse().ok()).unwrap_or_else(|| panic!("no peer in {value}"));
        Self {
            name: text("name").unwrap_or_default(),
            peer,
            path: text("path").unwrap_or_default(),
            forwarded_for: text("for"),
        }
    }
}

impl Namespace {
    /// Asks the server at `to` over a new TCP connection.
    pub fn who(&self, to: SocketAddr) -> Result<Answer, String> {
        self.http(to, "/").map(|body| Answer::read(&body))
    }

    /// Asks the server at `to` with a datagram from a new port.
    pub fn who_udp(&self, to: SocketAddr) -> Result<Answer, String> {
        let step = |what: &str, e: Error| format!("UDP to {to}: {what}: {e}");
        let any: IpAddr = if to.is_ipv4() { [0; 4].into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let socket = self.run(|| UdpSocket::bind((any, 0))).map_err(|e| step("bind", e))?;
        socket.set_read_timeout(Some(LOST)).map_err(|e| step("receive", e))?;
        // Connected: an answer from any other address than the asked one is not taken.
        socket.connect(to).and_then(|()| socket.send(b"who?")).map_err(|e| step("send", e))?;
        let mut answer = [0; 512];
        let length = socket.recv(&mut answer).map_err(|e| step("receive", e))?;
        Ok(Answer::read(&String::from_utf8_lossy(&answer[..length])))
    }

    /// Whether a connection to `to` is not made within `wait`.
    pub fn unreachable(&self, to: SocketAddr, wait: Duration) -> bool {
        self.run(|| TcpStream::connect_timeout(&to, wait)).is_err()
    }
}
