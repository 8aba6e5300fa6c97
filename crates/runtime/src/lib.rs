//! What libcni does for a container runtime: find networks, chain their plugins, pass capabilities, cache results.
//!
//! ```no_run
//! use runtime::{DEFAULT_CACHE_DIR, NetworkList, Runtime, RuntimeConf};
//!
//! # fn main() -> Result<(), runtime::Error> {
//! let list = NetworkList::load("/etc/cni/net.d".as_ref(), "pods")?;
//! let runtime = Runtime::new(vec!["/opt/cni/bin".into()], DEFAULT_CACHE_DIR);
//! let pod = RuntimeConf::new("3f9c", "eth0", Some("/run/netns/pod".into()));
//! match runtime.add(&list, &pod) {
//!     Ok(result) => print!("{}", result.to_json(list.cni_version())),
//!     // Plugins of the chain that had succeeded are undone by DEL, which is the caller's to call.
//!     Err(error) => {
//!         eprintln!("{error}");
//!         runtime.del(&list, &pod)?;
//!     }
//! }
//! # Ok(())
//! # }
//! ```

mod attachment_verbs;
mod cache;
mod error;
mod load;
mod network;
mod network_verbs;
mod plugin_conf;
mod run;

pub use cache::{CachedAttachment, DEFAULT_CACHE_DIR};
pub use error::Error;
pub use network::NetworkList;
pub use plugin_conf::PluginConf;
pub use run::{Runtime, RuntimeConf};
