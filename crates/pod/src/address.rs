//! The pod's interface: switched on, with its addresses and routes, and made known to its neighbours.

use std::{
    net::{IpAddr, Ipv6Addr},
    time::Duration,
};

use cni::{CniResult, Error, IpConfig};
use netlink::{Link, LinkChange, MacAddr, Namespace, Netlink, NewAddress, OperState, Sysctl};

use crate::errors::{Explain, drift};
use crate::route;

/// Duplicate address detection takes the kernel one to two seconds, a new link a millisecond; a slow node may take more.
const SETTLE_DEADLINE: Duration = Duration::from_secs(10);

/// Whether the kernel makes sure that nobody else has a new IPv6 address (RFC 4862, section 5.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detection {
    /// IPAM is trusted: addresses are usable at once.
    Off,
    /// Wait for the kernel's verdict.
    On,
}

/// A pod's network namespace, open, with a netlink socket in it.
pub struct Pod {
    namespace: Namespace,
    netlink: Netlink,
}

impl Pod {
    /// Enters nothing: opens the namespace and a socket that stays in it.
    ///
    /// # Errors
    /// Code 8 when the path is no network namespace.
    pub fn open(path: &std::path::Path) -> Result<Pod, Error> {
        Namespace::open(path)
            .and_then(Pod::in_namespace)
            .explain(format_args!("failed to open netns {:?}", path.display().to_string()))
    }

    /// The same, but `None` where there is no such namespace any more, as DEL wants it.
    ///
    /// # Errors
    /// Any other reason why it cannot be opened.
    pub fn open_if_there(path: &std::path::Path) -> Result<Option<Pod>, Error> {
        match Namespace::open(path) {
            // A file where the namespace was mounted is what is left when its mount is gone.
            Err(netlink::Error::NamespaceGone { .. } | netlink::Error::NotANamespace { .. }) => Ok(None),
            opened => {
                let pod = opened.and_then(Pod::in_namespace);
                pod.explain(format_args!("failed to open netns {:?}", path.display().to_string())).map(Some)
            }
        }
    }

    fn in_namespace(namespace: Namespace) -> Result<Pod, netlink::Error> {
        Ok(Pod { netlink: namespace.netlink()?, namespace })
    }

    /// The namespace.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// The socket in it.
    pub fn netlink(&self) -> &Netlink {
        &self.netlink
    }

    /// The interface called `name`, if there is one.
    ///
    /// # Errors
    /// The kernel's.
    pub fn link(&self, name: &str) -> Result<Option<Link>, Error> {
        self.netlink.link(name).explain(format_args!("interface {name} in the pod"))
    }

    /// Gives `link` the addresses of `result`, switches it on and adds the routes.
    ///
    /// # Errors
    /// The kernel's, or that another host has one of the addresses.
    pub fn configure(&self, link: &Link, result: &CniResult, detection: Detection) -> Result<(), Error> {
        let ips = &result.ips;
        self.set_addresses(link, ips, detection, Netlink::add_address)?;
        self.switch_on(link)?;
        route::add(&self.netlink, result, link.index)?;
        if detection == Detection::On && has_v6(ips) {
            let settled = self.netlink.wait_addresses_settled(link.index, SETTLE_DEADLINE);
            settled.explain(format_args!("addresses of {}", link.name))?;
        }
        wait_until_local(&self.netlink, link, ips.iter().map(|ip| ip.address.ip()))
    }

    /// The same for a link whose other end is the node and nobody else: everything goes to the node, neighbours of the
    /// same subnet, too. So the only address on the link is the gateway's, which may be of any subnet.
    ///
    /// # Errors
    /// The kernel's.
    pub fn configure_routed(&self, link: &Link, result: &CniResult) -> Result<(), Error> {
        self.set_addresses(link, &result.ips, Detection::Off, Netlink::add_address_without_route)?;
        self.switch_on(link)?;
        route::add_all(&self.netlink, route::to_gateways(&result.ips, link.index))?;
        route::add(&self.netlink, result, link.index)?;
        wait_until_local(&self.netlink, link, result.ips.iter().map(|ip| ip.address.ip()))
    }

    fn set_addresses(
        &self,
        link: &Link,
        ips: &[IpConfig],
        detection: Detection,
        add: impl Fn(&Netlink, u32, &NewAddress) -> Result<(), netlink::Error>,
    ) -> Result<(), Error> {
        if has_v6(ips) {
            self.namespace.run(|| prepare_v6(&link.name, detection)).and_then(|done| done).explain(&link.name)?;
        }
        for ip in ips {
            let address = NewAddress { network: ip.address.0, nodad: detection == Detection::Off };
            match add(&self.netlink, link.index, &address) {
                Err(e) if !e.is_exists() => return Err(e).explain(format_args!("address {}", ip.address)),
                _ => {}
            }
        }
        Ok(())
    }

    /// Switches `link` on.
    ///
    /// # Errors
    /// The kernel's.
    pub fn switch_on(&self, link: &Link) -> Result<(), Error> {
        // arp_notify: on a new MAC, the kernel announces IPv4 addresses. With the `up` it costs no message of its own.
        let up = LinkChange { up: Some(true), arp_notify: true, ..LinkChange::default() };
        self.netlink.change_link(link.index, &up).explain(format_args!("switching on {} in the pod", link.name))
    }

    /// Waits until the kernel has `link` operational, as programs in the pod see it.
    ///
    /// # Errors
    /// Code 11 when the kernel does not say so in time.
    pub fn wait_until_up(&self, link: &Link) -> Result<(), Error> {
        wait_until_operational(&self.netlink, link).explain(format_args!("interface {} in the pod", link.name))
    }

    /// Tells the neighbours who has the addresses now: one of them may have had another pod's MAC a moment ago.
    ///
    /// To be told its MAC, even the one it has, makes the kernel send a gratuitous ARP and an unsolicited neighbour
    /// advertisement for each address (`arp_notify` and `ndisc_notify` are on). What it sends by itself when the link
    /// comes up is lost: the bridge port is not up yet. Packets of our own would cost 13 ms, which the kernel takes to
    /// close a packet socket.
    pub fn announce(&self, link: &Link, mac: MacAddr) {
        let same_mac = LinkChange { mac: Some(mac), ..LinkChange::default() };
        if let Err(e) = self.netlink.change_link(link.index, &same_mac) {
            // A courtesy: neighbours find out by themselves, only later.
            cni::note(format_args!("{}: the addresses could not be announced: {e}", link.name));
        }
    }

    /// Finds an address or route of `result` that `link` does not have, or that it is switched off.
    ///
    /// # Errors
    /// What was expected and what was found.
    pub fn verify(&self, link: &Link, result: &CniResult, ips: &[&IpConfig]) -> Result<(), Error> {
        if !link.up {
            return Err(drift(format_args!("interface {} in the pod", link.name), "up", "down"));
        }
        if !ips.is_empty() {
            let present = self.netlink.addresses(link.index).explain(format_args!("addresses of {}", link.name))?;
            for ip in ips {
                if !present.iter().any(|address| address.network == ip.address.0) {
                    let found: Vec<String> = present.iter().map(|address| address.network.to_string()).collect();
                    let what = format!("interface {} in the pod", link.name);
                    return Err(drift(what, format_args!("address {}", ip.address), found.join(", ")));
                }
            }
        }
        route::verify(&self.netlink, result, link.index)
    }

    /// The same for what [`Pod::configure_routed`] made.
    ///
    /// # Errors
    /// As [`Pod::verify`].
    pub fn verify_routed(&self, link: &Link, result: &CniResult, ips: &[IpConfig]) -> Result<(), Error> {
        self.verify(link, result, &ips.iter().collect::<Vec<_>>())?;
        route::verify_all(&self.netlink, route::to_gateways(ips, link.index))
    }
}

/// Waits until the kernel has an interface of the node operational. Before, what the node sends by it is dropped: of a pair,
/// the end that was on first gets its queue by a work queue, once the other end is on.
///
/// # Errors
/// Code 11 when the kernel does not say so in time.
pub fn wait_until_up(node: &Netlink, link: &Link) -> Result<(), Error> {
    wait_until_operational(node, link).explain(format_args!("interface {} on the node", link.name))
}

fn wait_until_operational(netlink: &Netlink, link: &Link) -> Result<(), netlink::Error> {
    let is_up = |link: &Link| link.oper_state == OperState::Up;
    netlink.wait_link(link.index, "the interface to be operational", SETTLE_DEADLINE, is_up).map(drop)
}

/// Waits until the kernel answers to the IPv6 addresses that `link` has just been given, a moment after it has them. The first
/// packet to one would else be lost, and the second comes a second later.
///
/// # Errors
/// Code 11 when it does not in time; the kernel's.
pub fn wait_until_local(netlink: &Netlink, link: &Link, addresses: impl Iterator<Item = IpAddr>) -> Result<(), Error> {
    let v6: Vec<Ipv6Addr> = addresses
        .filter_map(|address| match address {
            IpAddr::V6(address) => Some(address),
            IpAddr::V4(_) => None,
        })
        .collect();
    let waited = netlink.wait_addresses_local(link.index, &v6, SETTLE_DEADLINE);
    waited.explain(format_args!("addresses of {}", link.name))
}

fn has_v6(ips: &[IpConfig]) -> bool {
    ips.iter().any(|ip| ip.address.ip().is_ipv6())
}

/// What an interface must have set before its first IPv6 address. Runs in the pod's namespace.
fn prepare_v6(name: &str, detection: Detection) -> Result<(), netlink::Error> {
    let detect = detection == Detection::On;
    // Containers often start with IPv6 off; an address was asked for, so it is wanted here. A pod reaches its own
    // address through lo.
    for interface in ["lo", name] {
        Sysctl::ipv6(interface, "disable_ipv6")?.set("0")?;
    }
    // Else the kernel forgets the address when somebody in the pod switches the interface off and on.
    Sysctl::ipv6(name, "keep_addr_on_down")?.set("1")?;
    // Link-local addresses are not ours to add, so only this reaches them.
    Sysctl::ipv6(name, "accept_dad")?.set(if detect { "1" } else { "0" })?;
    if detect {
        Sysctl::ipv6(name, "enhanced_dad")?.set("1")?;
    }
    // On a new MAC, the kernel announces IPv6 addresses.
    Sysctl::ipv6(name, "ndisc_notify")?.set("1")?;
    Ok(())
}
