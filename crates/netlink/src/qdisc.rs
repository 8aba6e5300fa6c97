//! Traffic control: queueing disciplines of interfaces. Classes and filters are in `qdisc/`.

mod class;
pub(crate) mod filter;
mod rate;

use std::fmt;

use netlink_packet_core::{DefaultNla, NLM_F_ACK, NLM_F_CREATE, NLM_F_ECHO, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::{
    RouteNetlinkMessage,
    tc::{TcAttribute, TcHandle, TcMessage, TcOption},
};
use nix::libc;

pub use class::HtbClass;
pub use filter::{Filter, Side, SubnetFilter};
pub use rate::Rate;

use crate::{Error, Netlink, packet::Attribute, packet::Packet};

/// `struct tcmsg`: its length, and where it holds the handle.
const HEADER: usize = 20;
const HANDLE: usize = 8;

/// linux/rtnetlink.h and linux/pkt_sched.h.
const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;
const TCA_TBF_PARMS: u16 = 1;
const TCA_TBF_RATE64: u16 = 4;
const TCA_TBF_BURST: u16 = 6;
const TCA_HTB_INIT: u16 = 2;
/// `tc_htb_glob.version` and `.rate2quantum`: what the kernel accepts, and what `tc` sends.
const HTB_VERSION: u32 = 3;
const HTB_RATE_TO_QUANTUM: u32 = 10;

/// The number of a qdisc or class, and the place where one is attached: `major:minor` in hexadecimal, as `tc` shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Handle {
    /// The qdisc.
    pub major: u16,
    /// The class in it; 0 for the qdisc itself.
    pub minor: u16,
}

impl Handle {
    /// Where an interface's outgoing packets wait (`TC_H_ROOT`).
    pub const ROOT: Handle = Handle { major: 0xffff, minor: 0xffff };
    /// Where its incoming packets pass (`TC_H_INGRESS`).
    pub const INGRESS: Handle = Handle { major: 0xffff, minor: 0xfff1 };
    /// The number that the ingress qdisc always has: the parent of its filters.
    pub const INGRESS_QDISC: Handle = Handle { major: 0xffff, minor: 0 };

    fn tc(self) -> TcHandle {
        TcHandle { major: self.major, minor: self.minor }
    }
}

impl From<u32> for Handle {
    fn from(number: u32) -> Handle {
        let TcHandle { major, minor } = number.into();
        Handle { major, minor }
    }
}

impl fmt::Display for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Handle::ROOT => f.write_str("root"),
            Handle::INGRESS => f.write_str("ingress"),
            Handle { major, minor: 0 } => write!(f, "{major:x}:"),
            Handle { major, minor } => write!(f, "{major:x}:{minor:x}"),
        }
    }
}

/// A queueing discipline.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Qdisc {
    /// `tbf`: everything goes out at one rate.
    TokenBucket {
        /// Rate and burst. A packet larger than the burst is split where it is a GSO packet, and dropped otherwise.
        rate: Rate,
        /// How many bytes may wait; what does not fit is dropped.
        limit: u32,
    },
    /// `htb`: classes with a rate each.
    Htb {
        /// The minor number of the class for packets that no filter knows.
        default_class: u16,
    },
    /// `bfifo`: first in, first out.
    ByteFifo {
        /// How many bytes may wait.
        limit: u32,
    },
    /// `ingress`: holds filters for incoming packets.
    Ingress,
    /// Another one, by its kind; only ever read.
    Other(String),
}

impl Qdisc {
    /// The name that `tc` has for it.
    pub fn kind(&self) -> &str {
        match self {
            Qdisc::TokenBucket { .. } => "tbf",
            Qdisc::Htb { .. } => "htb",
            Qdisc::ByteFifo { .. } => "bfifo",
            Qdisc::Ingress => "ingress",
            Qdisc::Other(kind) => kind,
        }
    }

    fn options(&self) -> Option<TcAttribute> {
        match self {
            Qdisc::TokenBucket { rate, limit } => {
                let mut parameters = rate.spec().to_vec();
                // No peak rate.
                parameters.extend([0; 12]);
                words(&mut parameters, &[*limit, rate.ticks_clamped(), 0]);
                let mut options = vec![raw(TCA_TBF_PARMS, parameters)];
                options.extend(rate.rate64(TCA_TBF_RATE64));
                options.push(raw(TCA_TBF_BURST, rate.burst.to_ne_bytes().to_vec()));
                Some(TcAttribute::Options(options))
            }
            Qdisc::Htb { default_class } => {
                let mut parameters = Vec::new();
                words(&mut parameters, &[HTB_VERSION, HTB_RATE_TO_QUANTUM, u32::from(*default_class), 0, 0]);
                Some(TcAttribute::Options(vec![raw(TCA_HTB_INIT, parameters)]))
            }
            // `struct tc_fifo_qopt` is the value of TCA_OPTIONS itself.
            Qdisc::ByteFifo { limit } => {
                Some(TcAttribute::Other(DefaultNla::new(TCA_OPTIONS, limit.to_ne_bytes().to_vec())))
            }
            Qdisc::Ingress | Qdisc::Other(_) => None,
        }
    }

    pub(crate) fn parse(packet: &Packet) -> Option<Qdisc> {
        if packet.kind != libc::RTM_NEWQDISC {
            return None;
        }
        let (kind, options) = kind_and_options(packet);
        let option = |kind| options.and_then(|options| options.nested().find(|option| option.kind == kind));
        Some(match kind?.as_str() {
            "tbf" => {
                let parameters = option(TCA_TBF_PARMS)?;
                let rate = Rate::parse(parameters, 0, 28, option(TCA_TBF_RATE64))?;
                Qdisc::TokenBucket { rate, limit: parameters.u32_at(24)? }
            }
            "htb" => {
                let default = option(TCA_HTB_INIT)?.u32_at(8)?;
                Qdisc::Htb { default_class: u16::try_from(default & 0xffff).ok()? }
            }
            "bfifo" => Qdisc::ByteFifo { limit: options?.u32()? },
            "ingress" => Qdisc::Ingress,
            other => Qdisc::Other(other.to_owned()),
        })
    }
}

impl Netlink {
    /// Attaches a qdisc at `parent` of an interface. One of the same kind and number is changed, another is replaced.
    ///
    /// # Errors
    /// [`Error::NotFound`] where the interface, or this kind in the kernel, is not there.
    pub fn set_qdisc(&self, index: u32, parent: Handle, handle: Handle, qdisc: &Qdisc) -> Result<(), Error> {
        let operation = format_args!("set qdisc {} at {parent} of interface #{index}", qdisc.kind());
        let set = |flags| {
            let message = RouteNetlinkMessage::NewQueueDiscipline(message(index, parent, handle, qdisc));
            self.execute(&message, NLM_F_CREATE | flags, &operation)
        };
        match set(NLM_F_REPLACE) {
            // The kernel changes no kind under a number that is in use, and htb not at all.
            Err(Error::Kernel(refusal)) if matches!(refusal.errno, libc::EINVAL | libc::EOPNOTSUPP) => {
                self.delete_qdisc(index, parent)?;
                set(NLM_F_EXCL)
            }
            done => done,
        }
    }

    /// Attaches the ingress qdisc of an interface, for filters of incoming packets.
    ///
    /// # Errors
    /// [`Error::Exists`] where there is one, of whatever kind.
    pub fn add_ingress(&self, index: u32) -> Result<(), Error> {
        let message = message(index, Handle::INGRESS, Handle::INGRESS_QDISC, &Qdisc::Ingress);
        let operation = format_args!("add an ingress qdisc to interface #{index}");
        self.execute(&RouteNetlinkMessage::NewQueueDiscipline(message), NLM_F_CREATE | NLM_F_EXCL, &operation)
    }

    /// Removes the qdisc at `parent` with everything in it. `false` where there was none but the kernel's own.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub fn delete_qdisc(&self, index: u32, parent: Handle) -> Result<bool, Error> {
        let mut message = TcMessage::default();
        address(&mut message, index, parent, Handle::from(0));
        let operation = format_args!("remove the qdisc at {parent} of interface #{index}");
        match self.execute(&RouteNetlinkMessage::DelQueueDiscipline(message), 0, &operation) {
            Ok(()) => Ok(true),
            Err(Error::NotFound(_)) => Ok(false),
            // "Cannot delete qdisc with handle of zero": what the kernel itself put there.
            Err(Error::Kernel(refusal)) if matches!(refusal.errno, libc::EINVAL) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The qdisc at `parent`, and its number; `None` where there is none.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub fn qdisc(&self, index: u32, parent: Handle) -> Result<Option<(Handle, Qdisc)>, Error> {
        let mut message = TcMessage::default();
        address(&mut message, index, parent, Handle::from(0));
        let operation = format_args!("read the qdisc at {parent} of interface #{index}");
        // Whoever asks hears the answer only where it asks for an echo. What the kernel itself put there is not shown:
        // there is only the acknowledgement then.
        let message = RouteNetlinkMessage::GetQueueDiscipline(message);
        match self.query(&message, NLM_F_ECHO | NLM_F_ACK, &operation) {
            Ok(packet) => Ok(packet.and_then(|packet| Some((packet.u32_at(HANDLE)?.into(), Qdisc::parse(&packet)?)))),
            Err(Error::NotFound(_)) => Ok(None),
            // Of some it says so in this way.
            Err(Error::Kernel(refusal)) if refusal.errno == libc::EINVAL => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn message(index: u32, parent: Handle, handle: Handle, qdisc: &Qdisc) -> TcMessage {
    let mut message = TcMessage::default();
    address(&mut message, index, parent, handle);
    message.attributes.push(TcAttribute::Kind(qdisc.kind().to_owned()));
    message.attributes.extend(qdisc.options());
    message
}

fn address(message: &mut TcMessage, index: u32, parent: Handle, handle: Handle) {
    message.header.index = index.cast_signed();
    message.header.parent = parent.tc();
    message.header.handle = handle.tc();
}

fn raw(kind: u16, value: Vec<u8>) -> TcOption {
    TcOption::Other(DefaultNla::new(kind, value))
}

fn words(bytes: &mut Vec<u8>, words: &[u32]) {
    bytes.extend(words.iter().flat_map(|word| word.to_ne_bytes()));
}

/// `TCA_KIND` and `TCA_OPTIONS` of a qdisc, class or filter.
fn kind_and_options(packet: &Packet) -> (Option<String>, Option<Attribute<'_>>) {
    let find = |kind| packet.attributes(HEADER).find(|attribute| attribute.kind == kind);
    (find(TCA_KIND).map(Attribute::text), find(TCA_OPTIONS))
}

#[cfg(test)]
mod tests;
