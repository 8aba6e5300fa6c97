//! A pod's end of an attachment: its namespace, interface, addresses, routes, and who owns the host's end.
//!
//! What every plugin shares that gives a pod an interface. A plugin decides what must be true; this makes it so in the
//! pod ([`Pod::configure`]), and finds what is no longer so ([`Pod::verify`]).

mod address;
mod detach;
mod drift;
mod errors;
mod forwarding;
mod mac;
mod owner;
mod route;
mod turn;
mod undo;
mod unowned;
mod veth;

pub use address::{Detection, Pod, wait_until_local, wait_until_up};
pub use detach::{collect, detach};
pub use drift::{expect_mac, expect_sysctl, expect_veth, prev_result, recorded};
pub use errors::{Explain, drift};
pub use forwarding::{forward, forwarding, ignore_advertisements};
pub use mac::requested_mac;
pub use owner::Owner;
pub use turn::Turn;
pub use undo::Undo;
pub use unowned::delete_unowned;
pub use veth::{Veth, delete_foreign_veth, interface, open_host};
