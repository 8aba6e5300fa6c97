//! What a plugin is: five verbs.

use crate::call::{AttachmentCall, NetworkCall};
use crate::config::Attachment;
use crate::error::Error;
use crate::result::CniResult;

/// Finds a plugin by its type among those that are part of the running program.
pub type Suite = fn(&str) -> Option<&'static dyn Plugin>;

/// A CNI plugin. [`crate::run`] makes a program of it: it has checked the parameters before a verb is called.
///
/// Every verb must cope with being killed at any point of an earlier call, and with others running at the same time.
pub trait Plugin {
    /// The plugin's type, which is also its executable's name: `bridge`.
    fn name(&self) -> &'static str;

    /// Reads the config as ADD does and checks what can be checked without looking at the node: for who wants to know
    /// whether it is right before a pod needs it.
    ///
    /// # Errors
    /// What ADD would say.
    fn read_config(&self, _: &NetworkCall) -> Result<(), Error> {
        Ok(())
    }

    /// Attaches the pod. A failed ADD leaves nothing behind.
    ///
    /// # Errors
    /// What stopped it; the runtime calls DEL next.
    fn add(&self, call: &AttachmentCall) -> Result<CniResult, Error>;

    /// Compares what `prevResult` says with what there is.
    ///
    /// # Errors
    /// The first difference: what was expected, what was found.
    fn check(&self, call: &AttachmentCall) -> Result<(), Error>;

    /// Detaches the pod. What is already gone is no error.
    ///
    /// # Errors
    /// Only if something that is still there could not be removed; the runtime calls again.
    fn del(&self, call: &AttachmentCall) -> Result<(), Error>;

    /// Removes what this network holds for any attachment that is not in `valid`.
    ///
    /// # Errors
    /// Everything that could not be removed, after the rest was.
    fn gc(&self, call: &NetworkCall, valid: &[Attachment]) -> Result<(), Error>;

    /// Whether an ADD would succeed.
    ///
    /// # Errors
    /// Code 50 if it would not, 51 if pods that are already there suffer too.
    fn status(&self, call: &NetworkCall) -> Result<(), Error>;
}
