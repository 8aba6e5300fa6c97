//! The portmap plugin, by the packets that pass.

mod chains;
mod conditions;
mod ground;
mod holders;
mod packets;
mod processes;
mod sctp;
mod verbs;
