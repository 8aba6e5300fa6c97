//! The portmap plugin, by the packets that pass.

mod chains;
mod ground;
mod holders;
mod packets;
mod processes;
mod verbs;
