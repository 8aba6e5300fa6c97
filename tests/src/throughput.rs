//! How fast a TCP connection carries bytes between namespaces, and what `tc` says of the limits on the way.

use std::io::{Read, Write};
use std::net::{IpAddr, Shutdown, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use nix::sys::socket::{setsockopt, sockopt::SndBuf};
use serde_json::Value;

use crate::Namespace;

/// The burst of a shaped connection goes by before the measurement begins.
const WARM_UP: Duration = Duration::from_millis(700);
/// Long enough for the rate to settle.
const WINDOW: Duration = Duration::from_millis(2500);
/// What the sender may have on its way, in bytes: enough to fill any rate between namespaces of one machine, and too little
/// to overrun a limit's queue by much. A large loss is repaired in leaps that fall into one measurement or the other.
const ON_ITS_WAY: usize = 32 << 10;
/// A connection on which nothing arrives for so long is broken.
const SILENCE: Duration = Duration::from_secs(5);

impl Namespace {
    /// Sends from here to `receiver` at its address `to` as fast as TCP can, and returns how many bits of payload per
    /// second arrived.
    #[track_caller]
    pub fn bits_per_second(&self, receiver: &Namespace, to: IpAddr) -> f64 {
        let step = |what: &str, e: std::io::Error| -> ! { panic!("measuring TCP to {to}: {what}: {e}") };
        let listener = receiver.run(|| TcpListener::bind((to, 0))).unwrap_or_else(|e| step("listen", e));
        let address = listener.local_addr().unwrap_or_else(|e| step("listen", e));
        let mut sender =
            self.run(|| TcpStream::connect_timeout(&address, SILENCE)).unwrap_or_else(|e| step("connect", e));
        let (mut arriving, _) = listener.accept().unwrap_or_else(|e| step("accept", e));
        arriving.set_read_timeout(Some(SILENCE)).unwrap_or_else(|e| step("accept", e));
        setsockopt(&sender, SndBuf, &ON_ITS_WAY).unwrap_or_else(|e| step("limit the send buffer", e.into()));
        std::thread::scope(|scope| {
            scope.spawn(move || {
                let block = [0; 1 << 16];
                // Ends when the receiver has seen enough and closes.
                while sender.write_all(&block).is_ok() {}
            });
            let mut buffer = vec![0; 1 << 18];
            let mut count_until = |end: Instant| {
                let mut count = 0;
                while Instant::now() < end {
                    count += arriving.read(&mut buffer).unwrap_or_else(|e| step("receive", e));
                }
                // What has come but was not read yet, on a busy machine a good deal, belongs to this side of the end.
                arriving.set_nonblocking(true).unwrap_or_else(|e| step("receive", e));
                while let Ok(more @ 1..) = arriving.read(&mut buffer) {
                    count += more;
                }
                arriving.set_nonblocking(false).unwrap_or_else(|e| step("receive", e));
                (count, Instant::now())
            };
            let (_, begin) = count_until(Instant::now() + WARM_UP);
            let (count, end) = count_until(begin + WINDOW);
            let seconds = (end - begin).as_secs_f64();
            let _ = arriving.shutdown(Shutdown::Both);
            drop(arriving);
            (count * 8) as f64 / seconds
        })
    }

    /// The answer of `tc -j <args>`: an array.
    #[track_caller]
    pub fn tc(&self, args: &[&str]) -> Value {
        let answer = self.sh(&[&["tc", "-j"], args].concat());
        serde_json::from_str(&answer).unwrap_or_else(|e| panic!("tc {args:?} printed no JSON ({e}): {answer}"))
    }

    /// The kind of the qdisc at the root of the link `name`, and all that `tc` says about it.
    #[track_caller]
    pub fn root_qdisc(&self, name: &str) -> (String, Value) {
        let qdiscs = self.tc(&["qdisc", "show", "dev", name]);
        let root = qdiscs.as_array().and_then(|all| all.iter().find(|qdisc| qdisc["root"] == true)).cloned();
        let root = root.unwrap_or_default();
        (root["kind"].as_str().unwrap_or_default().to_owned(), root)
    }
}
