//! How long the parts of a call took, for the log ([`crate::log`]).

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::call::{AttachmentCall, NetworkCall};

/// The steps of one call, shared by everything that works on it; nothing, and free, where no log was asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Steps(Option<Arc<Recording>>);

#[derive(Debug)]
struct Recording {
    start: Instant,
    steps: Mutex<Vec<Step>>,
}

/// One step. Those that lie within another's time are parts of it, or were done beside it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Step {
    /// When it began, in microseconds since the call did.
    at_us: u64,
    /// What was done.
    step: &'static str,
    /// How long it took, in microseconds.
    us: u64,
}

impl Steps {
    /// Records from now on; `start` is when the call began.
    pub(crate) fn since(start: Instant) -> Steps {
        Steps(Some(Arc::new(Recording { start, steps: Mutex::default() })))
    }

    /// Does `work` and records how long it took, also if it panics.
    pub(crate) fn step<T>(&self, what: &'static str, work: impl FnOnce() -> T) -> T {
        let _timed = self.0.as_deref().map(|recording| Timed { recording, what, begun: Instant::now() });
        work()
    }

    /// Records a step that lasted from the call's beginning to now.
    pub(crate) fn until_now(&self, what: &'static str) {
        drop(self.0.as_deref().map(|recording| Timed { recording, what, begun: recording.start }));
    }

    /// What was recorded, in the order of beginning; of two at once the longer comes first.
    pub(crate) fn recorded(&self) -> Vec<Step> {
        let Some(recording) = &self.0 else { return Vec::new() };
        let mut steps = recording.steps.lock().unwrap_or_else(PoisonError::into_inner).clone();
        steps.sort_by_key(|step| (step.at_us, std::cmp::Reverse(step.us)));
        steps
    }
}

/// A step that is being done.
struct Timed<'a> {
    recording: &'a Recording,
    what: &'static str,
    begun: Instant,
}

impl Drop for Timed<'_> {
    fn drop(&mut self) {
        let at_us = micros(self.begun.duration_since(self.recording.start));
        let step = Step { at_us, step: self.what, us: micros(self.begun.elapsed()) };
        self.recording.steps.lock().unwrap_or_else(PoisonError::into_inner).push(step);
    }
}

impl NetworkCall {
    /// Does `work`, a step of the call that is worth a name in the log. Costs nothing where no log was asked for.
    pub fn step<T>(&self, what: &'static str, work: impl FnOnce() -> T) -> T {
        self.steps.step(what, work)
    }
}

impl AttachmentCall {
    /// As [`NetworkCall::step`].
    pub fn step<T>(&self, what: &'static str, work: impl FnOnce() -> T) -> T {
        self.network.step(what, work)
    }
}

pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_recorded_wherever_they_are_done() {
        // Steps that begin in one microsecond have no order.
        let steps = Steps::since(Instant::now() - Duration::from_millis(1));
        steps.until_now("first");
        let part = steps.clone();
        let value = steps.step("whole", || {
            std::thread::scope(|scope| scope.spawn(|| part.step("in a thread", || 7)).join().unwrap())
        });
        assert_eq!(value, 7);
        let _ =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| steps.step("fails", || panic!("as it should"))));
        let recorded = steps.recorded();
        let names: Vec<_> = recorded.iter().map(|step| step.step).collect();
        assert_eq!(names, ["first", "whole", "in a thread", "fails"]);
        assert!(recorded[1].at_us <= recorded[2].at_us && recorded[1].us >= recorded[2].us, "{recorded:?}");
        assert_eq!(Steps::default().step("nothing", || 3), 3);
        assert!(Steps::default().recorded().is_empty());
    }
}
