//! What the tests of the store share.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::collections::BTreeMap;
use std::io::Write;
use std::net::IpAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use ipam::{Attachment, Range, RangeSet, RangeSets, Store};
use serde_json::Value;

pub const REFERENCE: &str = "/usr/lib/cni/host-local";

pub fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub fn pod(container_id: &str) -> Attachment {
    Attachment::new(container_id, "eth0")
}

/// Each string is a set: `subnet[/start-end] subnet …`, for example `10.0.0.0/24,10.0.0.5-10.0.0.9`.
pub fn sets(sets: &[&str]) -> RangeSets {
    let range = |text: &str| {
        let (subnet, bounds) = text.split_once(',').map_or((text, None), |(s, b)| (s, Some(b)));
        let (start, end) = bounds.map(|b| b.split_once('-').unwrap()).unzip();
        Range::new(subnet.parse().unwrap(), start.map(ip), end.map(ip), None).unwrap()
    };
    let set = |text: &&str| RangeSet::new(text.split(' ').map(range).collect()).unwrap();
    RangeSets::new(sets.iter().map(set).collect()).unwrap()
}

/// Every file of a network's directory with its content; empty when there is none.
pub fn files(store: &Store) -> BTreeMap<String, Vec<u8>> {
    let Ok(entries) = std::fs::read_dir(store.dir()) else { return BTreeMap::new() };
    entries
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap()))
        .collect()
}

/// The addresses given, as text.
pub fn given(
    store: &Store,
    pod: &Attachment,
    sets: &RangeSets,
    requested: &[&str],
) -> Result<Vec<String>, ipam::Error> {
    let requested: Vec<_> = requested.iter().map(|text| ip(text)).collect();
    let allocation = store.allocate(pod, sets, &requested)?;
    Ok(allocation.addresses.iter().map(|assigned| assigned.address.ip().to_string()).collect())
}

/// Runs the Go plugin on `<data_dir>/net`; its addresses, or its message.
pub fn reference(data_dir: &Path, verb: &str, pod: &Attachment, ranges: &Value) -> Result<Vec<String>, String> {
    let config = serde_json::json!({
        "cniVersion": "1.0.0", "name": "net", "type": "bridge",
        "ipam": { "type": "host-local", "dataDir": data_dir, "ranges": ranges },
    });
    let mut child = Command::new(REFERENCE)
        .env_clear()
        .envs([("CNI_COMMAND", verb), ("CNI_CONTAINERID", pod.container_id()), ("CNI_IFNAME", pod.ifname())])
        .envs([("CNI_NETNS", "/none"), ("CNI_PATH", "/usr/lib/cni")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{REFERENCE}: {error}; install containernetworking-plugins"));
    child.stdin.take().unwrap().write_all(config.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    if !output.status.success() {
        return Err(answer["msg"].as_str().unwrap().to_owned());
    }
    let address = |ip: &Value| ip["address"].as_str().unwrap().split_once('/').unwrap().0.to_owned();
    Ok(answer["ips"].as_array().into_iter().flatten().map(address).collect())
}
