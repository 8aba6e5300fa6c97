//! A pod's end of an attachment: its namespace, interface, addresses, routes, and who owns the host's end.
//!
//! What every plugin shares that gives a pod an interface. A plugin decides what must be true; this makes it so in the
//! pod ([`Pod::configure`]), and finds what is no longer so ([`Pod::verify`]).

mod address;
mod errors;
mod mac;
mod owner;
mod route;
mod unowned;

pub use address::{Detection, Pod};
pub use errors::{Explain, drift};
pub use mac::requested_mac;
pub use owner::Owner;
pub use unowned::delete_unowned;
