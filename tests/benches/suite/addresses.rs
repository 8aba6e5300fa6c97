//! host-local by itself, over the number of addresses that are taken.

use std::net::Ipv4Addr;
use std::path::Path;

use podlink_tests::Node;
use serde_json::json;

use crate::options::Options;
use crate::pairs::{self, Subject};
use crate::plugin_way::PluginWay;
use crate::progress;
use crate::row::{Rows, Side};

/// How many addresses, how often at most (the reference takes a second for each of the last), and whether in the quick run.
const SIZES: [(u32, usize, bool); 5] =
    [(10, 40, false), (250, 40, true), (5_000, 20, true), (20_000, 8, false), (60_000, 5, false)];

/// The case's name, without the number.
pub const CASE: &str = "host-local";

/// The first address of 10.4.0.0/16 that is not the gateway.
const FIRST: Ipv4Addr = Ipv4Addr::new(10, 4, 0, 2);

/// Measures the sizes that are wanted.
pub fn measure(options: &Options, rows: &mut Rows) {
    let config = json!({
        "cniVersion": "1.0.0", "name": "net", "type": "bridge",
        "ipam": { "type": "host-local", "subnet": "10.4.0.0/16", "routes": [{ "dst": "0.0.0.0/0" }] },
    });
    for (count, most, quick) in SIZES {
        let case = format!("{CASE} {count}");
        if !options.wants(&case, quick) {
            continue;
        }
        progress::preparing(&format!("{case}: files"));
        let subject = |side| {
            Subject::new(side, |node: &Node| {
                fill(&node.outside("/var/lib/cni/networks/net"), count);
                Box::new(PluginWay::new(side, "host-local", config.clone(), None))
            })
        };
        let subjects = vec![subject(Side::Ours), subject(Side::Reference)];
        pairs::measure(&case, subjects, 0, options.rounds(most), rows);
    }
}

/// Address files as the reference writes them, the first `count` of the range; the next is given out next.
fn fill(dir: &Path, count: u32) {
    let failed = |e: std::io::Error| -> ! { panic!("filling {}: {e}", dir.display()) };
    let write = |name: &str, text: &str| std::fs::write(dir.join(name), text).unwrap_or_else(|e| failed(e));
    std::fs::create_dir_all(dir).unwrap_or_else(|e| failed(e));
    let mut last = FIRST;
    for number in 0..count {
        last = Ipv4Addr::from_bits(FIRST.to_bits() + number);
        write(&last.to_string(), &format!("container-{number}\r\neth0"));
    }
    write("last_reserved_ip.0", &last.to_string());
}
