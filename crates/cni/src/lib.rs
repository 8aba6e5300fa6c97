//! The CNI specification, 0.1.0 to 1.1.0, for plugins: the call, the result, errors, the verbs, delegation to IPAM.
//!
//! Nothing here touches the kernel's network state. A plugin is a type that implements [`Plugin`], and a `main` of one line:
//!
//! ```no_run
//! use cni::{Attachment, AttachmentCall, CniResult, Error, NetworkCall, Plugin};
//!
//! struct Nothing;
//!
//! impl Plugin for Nothing {
//!     fn name(&self) -> &'static str {
//!         "nothing"
//!     }
//!     fn add(&self, call: &AttachmentCall) -> Result<CniResult, Error> {
//!         Ok(call.network.config.prev_result()?.unwrap_or_default())
//!     }
//!     fn check(&self, _: &AttachmentCall) -> Result<(), Error> {
//!         Ok(())
//!     }
//!     fn del(&self, _: &AttachmentCall) -> Result<(), Error> {
//!         Ok(())
//!     }
//!     fn gc(&self, _: &NetworkCall, _valid: &[Attachment]) -> Result<(), Error> {
//!         Ok(())
//!     }
//!     fn status(&self, _: &NetworkCall) -> Result<(), Error> {
//!         Ok(())
//!     }
//! }
//!
//! fn main() -> std::process::ExitCode {
//!     cni::run(&Nothing)
//! }
//! ```

mod args;
mod call;
mod caseless;
mod cidr;
mod config;
mod delegate;
mod entry;
mod error;
mod json;
mod known;
mod log;
mod note;
mod plugin;
mod program;
mod result;
mod steps;
pub mod validate;
mod version;

pub use args::CniArgs;
pub use call::{AttachmentCall, NetworkCall, Verb};
pub use caseless::read as read_json;
pub use cidr::Cidr;
pub use config::{Attachment, NetConf};
pub use delegate::{Delegate, StartedAdd};
pub use entry::{run, run_among};
pub use error::{Error, ErrorCode};
pub use known::UnknownKey;
pub use note::note;
pub use plugin::{Plugin, Suite};
pub use program::{Program, ProgramFailure};
pub use result::{CniResult, Dns, Interface, IpConfig, Route};
pub use version::SpecVersion;
