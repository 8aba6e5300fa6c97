//! How one implementation attaches a pod in a case: a single plugin, a whole chain, or the floor's bare messages.

use std::time::Duration;

use podlink_tests::{Node, Pod};

/// What a verb took, or why it failed.
pub type Timed = Result<Duration, String>;

/// One way to attach pods on one node. A pod is attached, checked and detached before or beside the next.
pub trait Way {
    /// ADD. `number` is another for each pod that is attached at a time.
    fn attach(&mut self, node: &Node, pod: &Pod, number: u16) -> Timed;

    /// CHECK; `None` where there is no such thing.
    fn check(&mut self, node: &Node, pod: &Pod) -> Option<Timed>;

    /// The verbs about a network, where the implementation has them: GC and STATUS.
    fn network_verbs(&mut self, node: &Node, standing: &[Pod]) -> Vec<(&'static str, Timed)>;

    /// DEL.
    fn detach(&mut self, node: &Node, pod: &Pod) -> Timed;
}
