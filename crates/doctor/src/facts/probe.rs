//! What the kernel can do, found out by doing it: in a network namespace of its own, which ends with the thread that is
//! in it. Lists of modules and options are not there in every container, and say nothing about what may be loaded.

use netlink::{Handle, Namespace, Netlink, NewBridge, NewIfb, NewVeth, Qdisc, Rate, VethHost, VethPeer};
use nft::{Family, Nft};
use nix::sched::{CloneFlags, unshare};

use super::Feature;

/// The features that are not there, each with the kernel's words. None where this process may not make a namespace.
pub(super) fn missing() -> Vec<(Feature, String)> {
    std::thread::scope(|scope| {
        let prober = scope.spawn(|| unshare(CloneFlags::CLONE_NEWNET).map(|()| probe()).unwrap_or_default());
        prober.join().unwrap_or_default()
    })
}

fn probe() -> Vec<(Feature, String)> {
    let (Ok(netlink), Ok(here)) = (Netlink::new(), Namespace::current()) else { return Vec::new() };
    let bridge = |name, vlan_filtering| {
        netlink.create_bridge(&NewBridge { name, mac: None, mtu: None, vlan_filtering, up: false })
    };
    let veth = NewVeth {
        host: VethHost { name: "veth0", mac: None, mtu: None, master: None, up: false },
        peer: VethPeer { name: "veth1", mac: None, mtu: None, namespace: &here },
    };
    let ifb = NewIfb { name: "ifb-probe", mtu: 1500, tx_queue_len: 100, up: false };
    let mut missing = Vec::new();
    let mut tried = |feature, tried: Result<(), String>| {
        if let Err(why) = tried {
            missing.push((feature, why));
        }
    };
    let told = |error: netlink::Error| error.to_string();
    let bridges = bridge("br0", false).map_err(told);
    let has_bridges = bridges.is_ok();
    tried(Feature::Bridge, bridges);
    if has_bridges {
        tried(Feature::VlanFiltering, bridge("br1", true).map_err(told));
    }
    tried(Feature::Veth, netlink.create_veth(&veth).map_err(told));
    tried(Feature::Ifb, netlink.create_ifb(&ifb).map_err(told));
    tried(Feature::Tbf, token_bucket(&netlink).map_err(told));
    tried(Feature::NfTables, nf_tables());
    missing
}

/// On the loopback interface, which every namespace has.
fn token_bucket(netlink: &Netlink) -> Result<(), netlink::Error> {
    let Some(lo) = netlink.link("lo")? else { return Ok(()) };
    let qdisc = Qdisc::TokenBucket { rate: Rate { bytes_per_second: 125_000, burst: 100_000 }, limit: 100_000 };
    netlink.set_qdisc(lo.index, Handle::ROOT, Handle { major: 1, minor: 0 }, &qdisc)
}

fn nf_tables() -> Result<(), String> {
    match Nft::open().and_then(|mut nft| nft.supports(Family::Inet)) {
        Ok(true) => Ok(()),
        Ok(false) => Err("the kernel has no tables of the family inet".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}
