//! Classes of htb.

use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::{
    RouteNetlinkMessage,
    tc::{TcAttribute, TcMessage},
};
use nix::libc;

use super::{HANDLE, Handle, Rate, address, kind_and_options, raw, words};
use crate::{Error, Netlink, packet::Packet};

/// linux/pkt_sched.h.
const TCA_HTB_PARMS: u16 = 1;
const TCA_HTB_RATE64: u16 = 6;
const TCA_HTB_CEIL64: u16 = 7;
/// How many bytes a class may send in its turn. The kernel's guess follows the rate, and is logged as too small or too
/// big for most of them.
const QUANTUM: u32 = 20_000;

/// A class that has its rate, and no more (`ceil` is the same).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HtbClass {
    /// Its number; the major part is its qdisc's.
    pub id: Handle,
    /// Rate and burst. Unlike in `tbf`, a packet larger than the burst passes.
    pub rate: Rate,
}

impl Netlink {
    /// Adds a class to an htb qdisc, or changes it.
    ///
    /// # Errors
    /// [`Error::NotFound`] where the interface or the qdisc is not there.
    pub fn set_class(&self, index: u32, class: &HtbClass) -> Result<(), Error> {
        let operation = format_args!("set htb class {} of interface #{index}", class.id);
        let message = RouteNetlinkMessage::NewTrafficClass(class.message(index));
        self.execute(&message, NLM_F_CREATE | NLM_F_REPLACE, &operation)
    }

    /// The htb classes of an interface.
    ///
    /// # Errors
    /// As [`Netlink::links`].
    pub fn classes(&self, index: u32) -> Result<Vec<HtbClass>, Error> {
        let mut message = TcMessage::default();
        address(&mut message, index, Handle::from(0), Handle::from(0));
        let operation = format_args!("list the traffic classes of interface #{index}");
        self.dump(&RouteNetlinkMessage::GetTrafficClass(message), &operation, |packet| {
            if packet.interface() == Some(index) { HtbClass::parse(packet) } else { None }
        })
    }
}

impl HtbClass {
    pub(super) fn message(&self, index: u32) -> TcMessage {
        let mut message = TcMessage::default();
        address(&mut message, index, Handle { minor: 0, ..self.id }, self.id);
        message.attributes.push(TcAttribute::Kind("htb".to_owned()));
        // `struct tc_htb_opt`: rate, ceil, buffer, cbuffer, quantum, level, prio.
        let mut parameters = [self.rate.spec(), self.rate.spec()].concat();
        let ticks = self.rate.ticks_clamped();
        words(&mut parameters, &[ticks, ticks, QUANTUM, 0, 0]);
        let mut options = vec![raw(TCA_HTB_PARMS, parameters)];
        options.extend([TCA_HTB_RATE64, TCA_HTB_CEIL64].into_iter().filter_map(|kind| self.rate.rate64(kind)));
        message.attributes.push(TcAttribute::Options(options));
        message
    }

    pub(crate) fn parse(packet: &Packet) -> Option<HtbClass> {
        let (kind, options) = kind_and_options(packet);
        if packet.kind != libc::RTM_NEWTCLASS || kind?.as_str() != "htb" {
            return None;
        }
        let option = |kind| options.and_then(|options| options.nested().find(|option| option.kind == kind));
        let rate = Rate::parse(option(TCA_HTB_PARMS)?, 0, 24, option(TCA_HTB_RATE64))?;
        Some(HtbClass { id: packet.u32_at(HANDLE)?.into(), rate })
    }
}
