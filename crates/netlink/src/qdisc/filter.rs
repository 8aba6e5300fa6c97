//! u32 filters: everything to another device, or a subnet to a class.

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::{
    RouteNetlinkMessage,
    tc::{
        TcAction, TcActionAttribute, TcActionMirrorOption, TcActionOption, TcActionType, TcAttribute,
        TcFilterU32Option, TcMessage, TcMirror, TcMirrorActionType, TcOption, TcU32Key, TcU32Selector,
        TcU32SelectorFlags,
    },
};
use nix::libc;

use super::{Handle, address, kind_and_options};
use crate::{Error, Netlink, packet::Attribute, packet::Packet};

/// Where `struct tcmsg` holds priority and protocol.
const INFO: usize = 16;
/// linux/pkt_cls.h, linux/tc_act/tc_mirred.h.
const TCA_U32_CLASSID: u16 = 1;
const TCA_U32_SEL: u16 = 5;
const TCA_U32_ACT: u16 = 7;
const TCA_ACT_KIND: u16 = 1;
const TCA_ACT_OPTIONS: u16 = 2;
const TCA_MIRRED_PARMS: u16 = 2;
/// `struct tc_mirred`: what to do, and where to.
const MIRRED_ACTION: usize = 20;
const MIRRED_INDEX: usize = 24;
const TCA_EGRESS_REDIR: u32 = 1;
/// `struct tc_u32_sel` before its keys, and `struct tc_u32_key`.
const SELECTOR: usize = 16;
const KEY: usize = 16;

/// Which address of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Where it comes from.
    Source,
    /// Where it goes.
    Destination,
}

/// Packets of a subnet go to a class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubnetFilter {
    /// The subnet; host bits do not count.
    pub subnet: IpNetwork,
    /// Which address must be in it.
    pub side: Side,
    /// The class.
    pub class: Handle,
}

/// A filter, as far as this crate knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Filter {
    /// Every packet goes out of another interface instead (`mirred egress redirect`).
    RedirectAll {
        /// That interface; 0 where it is gone.
        to: u32,
    },
    /// A subnet's packets go to a class.
    Subnet(SubnetFilter),
    /// Something else, by its kind.
    Other(String),
}

impl Netlink {
    /// Leads every packet that comes in by an interface out of another one. The interface must have an ingress qdisc.
    ///
    /// # Errors
    /// [`Error::NotFound`] where an interface, or a part of the kernel (`cls_u32`, `act_mirred`), is not there.
    pub fn redirect_ingress(&self, index: u32, to: u32) -> Result<(), Error> {
        let operation = format_args!("redirect what comes in by interface #{index} to interface #{to}");
        let message = RouteNetlinkMessage::NewTrafficFilter(redirect(index, to));
        self.execute(&message, NLM_F_CREATE | NLM_F_EXCL, &operation)
    }

    /// Adds a filter to the qdisc of its class.
    ///
    /// # Errors
    /// [`Error::NotFound`] where the interface or the qdisc is not there.
    pub fn add_subnet_filter(&self, index: u32, filter: &SubnetFilter) -> Result<(), Error> {
        let operation = format_args!("lead subnet {} to class {} of interface #{index}", filter.subnet, filter.class);
        let message = RouteNetlinkMessage::NewTrafficFilter(filter.message(index));
        self.execute(&message, NLM_F_CREATE | NLM_F_EXCL, &operation)
    }

    /// The filters of a qdisc.
    ///
    /// # Errors
    /// As [`Netlink::links`].
    pub fn filters(&self, index: u32, qdisc: Handle) -> Result<Vec<Filter>, Error> {
        let mut message = TcMessage::default();
        address(&mut message, index, qdisc, Handle::from(0));
        let operation = format_args!("list the filters of qdisc {qdisc} of interface #{index}");
        self.dump(&RouteNetlinkMessage::GetTrafficFilter(message), &operation, |packet| {
            if packet.interface() == Some(index) { parse(packet) } else { None }
        })
    }
}

/// What `tcmsg.tcm_info` holds: the priority, and the protocol in network order.
fn info(priority: u16, protocol: libc::c_int) -> u32 {
    let protocol = u16::try_from(protocol).unwrap_or_default();
    u32::from(priority) << 16 | u32::from(protocol.to_be())
}

pub(super) fn redirect(index: u32, to: u32) -> TcMessage {
    let mut mirror = TcMirror::default();
    mirror.generic.action = TcActionType::Stolen;
    mirror.eaction = TcMirrorActionType::EgressRedir;
    mirror.ifindex = to;
    let mut action = TcAction::default();
    action.attributes = vec![
        TcActionAttribute::Kind("mirred".to_owned()),
        TcActionAttribute::Options(vec![TcActionOption::Mirror(TcActionMirrorOption::Parms(mirror))]),
    ];
    // A key that asks for nothing matches everything.
    let options = vec![TcFilterU32Option::Action(vec![action]), selector(vec![TcU32Key::default()])];
    message(index, Handle::INGRESS_QDISC, info(1, libc::ETH_P_ALL), options)
}

impl SubnetFilter {
    pub(super) fn message(&self, index: u32) -> TcMessage {
        // One priority holds one protocol.
        let (info, offset) = match (self.subnet.is_ipv4(), self.side) {
            (true, Side::Source) => (info(16, libc::ETH_P_IP), 12),
            (true, Side::Destination) => (info(16, libc::ETH_P_IP), 16),
            (false, Side::Source) => (info(15, libc::ETH_P_IPV6), 8),
            (false, Side::Destination) => (info(15, libc::ETH_P_IPV6), 24),
        };
        let pairs = octets(self.subnet.mask()).into_iter().zip(octets(self.subnet.network()));
        let offsets = (offset..).step_by(4);
        let keys = pairs.zip(offsets).map(|((mask, value), offset)| {
            let mut key = TcU32Key::default();
            key.mask = mask;
            key.val = value;
            key.off = offset;
            key
        });
        let class = TcFilterU32Option::ClassId(self.class.tc());
        message(index, Handle { minor: 0, ..self.class }, info, vec![class, selector(keys.collect())])
    }
}

fn selector(keys: Vec<TcU32Key>) -> TcFilterU32Option {
    let mut selector = TcU32Selector::default();
    selector.flags = TcU32SelectorFlags::Terminal;
    selector.nkeys = u8::try_from(keys.len()).unwrap_or_default();
    selector.keys = keys;
    TcFilterU32Option::Selector(selector)
}

fn message(index: u32, parent: Handle, info: u32, options: Vec<TcFilterU32Option>) -> TcMessage {
    let mut message = TcMessage::default();
    address(&mut message, index, parent, Handle::from(0));
    message.header.info = info;
    message.attributes.push(TcAttribute::Kind("u32".to_owned()));
    message.attributes.push(TcAttribute::Options(options.into_iter().map(TcOption::U32).collect()));
    message
}

/// An address as the words a u32 filter compares.
fn octets(address: IpAddr) -> Vec<u32> {
    match address {
        IpAddr::V4(address) => vec![address.into()],
        IpAddr::V6(address) => [96, 64, 32, 0].map(|shift| (u128::from(address) >> shift) as u32).to_vec(),
    }
}

pub(crate) fn parse(packet: &Packet) -> Option<Filter> {
    if packet.kind != libc::RTM_NEWTFILTER {
        return None;
    }
    let (kind, options) = kind_and_options(packet);
    let kind = kind?;
    if kind != "u32" {
        return Some(Filter::Other(kind));
    }
    let option = |kind| options.and_then(|options| options.nested().find(|option| option.kind == kind));
    // Each u32 filter has a hash table, which is listed like a filter but selects nothing.
    let keys = keys(option(TCA_U32_SEL)?);
    let catches_all = keys.iter().all(|key| key.mask == 0);
    if let Some(to) = option(TCA_U32_ACT).and_then(redirect_target).filter(|_| catches_all) {
        return Some(Filter::RedirectAll { to });
    }
    let class = option(TCA_U32_CLASSID).and_then(Attribute::u32).map(Handle::from);
    let subnet = class.and_then(|class| subnet(packet.u32_at(INFO)?, &keys, class));
    Some(subnet.map_or(Filter::Other(kind), Filter::Subnet))
}

struct Key {
    mask: u32,
    value: u32,
    offset: u32,
}

fn keys(selector: Attribute<'_>) -> Vec<Key> {
    let places = (SELECTOR..selector.value.len()).step_by(KEY);
    // Mask and value are in network order, the offset is in the host's.
    let key = |at: usize| {
        let (mask, value, offset) = (selector.u32_at(at)?, selector.u32_at(at + 4)?, selector.u32_at(at + 8)?);
        Some(Key { mask: u32::from_be(mask), value: u32::from_be(value), offset })
    };
    places.map_while(key).collect()
}

fn redirect_target(actions: Attribute<'_>) -> Option<u32> {
    actions.nested().find_map(|action| {
        let find = |kind| action.nested().find(|attribute| attribute.kind == kind);
        find(TCA_ACT_KIND).filter(|kind| kind.text() == "mirred")?;
        let parameters = find(TCA_ACT_OPTIONS)?.nested().find(|option| option.kind == TCA_MIRRED_PARMS)?;
        (parameters.u32_at(MIRRED_ACTION)? == TCA_EGRESS_REDIR).then(|| parameters.u32_at(MIRRED_INDEX))?
    })
}

fn subnet(info: u32, keys: &[Key], class: Handle) -> Option<SubnetFilter> {
    let words = |of: fn(&Key) -> u32| keys.iter().map(of).fold(0, |sum, word| sum << 32 | u128::from(word));
    let (mask, value) = (words(|key| key.mask), words(|key| key.value));
    let protocol = libc::c_int::from(u16::from_be((info & 0xffff) as u16));
    let (side, network): (Side, IpNetwork) = match (protocol, keys.len(), keys.first()?.offset) {
        (libc::ETH_P_IP, 1, offset @ (12 | 16)) => {
            let address = std::net::Ipv4Addr::from(value as u32);
            let side = if offset == 12 { Side::Source } else { Side::Destination };
            (side, IpNetwork::with_netmask(address.into(), std::net::Ipv4Addr::from(mask as u32).into()).ok()?)
        }
        (libc::ETH_P_IPV6, 4, offset @ (8 | 24)) => {
            let address = std::net::Ipv6Addr::from(value);
            let side = if offset == 8 { Side::Source } else { Side::Destination };
            (side, IpNetwork::with_netmask(address.into(), std::net::Ipv6Addr::from(mask).into()).ok()?)
        }
        _ => return None,
    };
    Some(SubnetFilter { subnet: network, side, class })
}
