//! The file-backed address store: ranges, allocation, ownership, locking.
//!
//! The layout on disk is that of the Go host-local plugin, to the byte, so that a node can be upgraded and rolled back
//! while pods run and both may even work in one directory at once:
//!
//! ```text
//! <data dir>/<network>/10.1.0.7              "<container ID>\r\n<interface name>"    one reservation, mode 0644
//! <data dir>/<network>/last_reserved_ip.0    "10.1.0.7"                             where range set 0 goes on from
//! <data dir>/<network>/lock                  empty, mode 0750                       taken with flock(2) to change the rest
//! <data dir>/.podlink/<network>/index        see index.rs                           ours, and may be deleted at any time
//! ```
//!
//! The names: an *attachment* is one interface of one container ([`Attachment`]). A [`Range`] is a run of addresses in one
//! subnet. A [`RangeSet`] is several ranges of one family that stand in for each other: an attachment gets one address
//! from each set. [`RangeSets`] is all that a network gives out. A [`Store`] is one network's directory.
//!
//! ```
//! use ipam::{Attachment, Range, RangeSet, RangeSets, Store};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let data_dir = tempfile::tempdir()?;
//! let range = Range::new("10.1.0.0/24".parse()?, None, None, None)?;
//! let sets = RangeSets::new(vec![RangeSet::new(vec![range])?])?;
//! let store = Store::new(data_dir.path(), "podnet")?;
//! let pod = Attachment::new("0f5c", "eth0");
//!
//! let given = store.allocate(&pod, &sets, &[])?;
//! assert_eq!(given.addresses[0].address.to_string(), "10.1.0.2/24");
//! assert_eq!(store.release(&pod)?, vec![given.addresses[0].address.ip()]);
//! # Ok(())
//! # }
//! ```
//!
//! What holds at every moment, also when a process is killed between two system calls or the power is cut:
//! - An address file appears with its whole content or not at all (written aside, then linked to its name).
//! - An address is given to one attachment: `link` refuses a name that exists, whether or not the other side locks.
//! - What an interrupted call leaves is owned by its attachment, so the DEL that follows a failed ADD removes it.

mod address;
mod allocate;
mod attachment;
mod boot;
mod directory;
mod error;
mod index;
mod lock;
mod plan;
mod range;
mod range_set;
mod release;
mod reserve;
mod store;
mod view;

pub use allocate::{Allocation, Assigned};
pub use attachment::{Attachment, Holder};
pub use boot::Boot;
pub use directory::Reservation;
pub use error::{Error, LockHolder};
pub use lock::Lock;
pub use range::{Bound, Range, RangeError, Role};
pub use range_set::{RangeSet, RangeSetError, RangeSets};
pub use release::Collected;
pub use store::{DEFAULT_DATA_DIR, DEFAULT_LOCK_DEADLINE, Store, Usage};
