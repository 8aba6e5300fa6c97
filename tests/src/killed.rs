//! A plugin that is killed in the middle of a call, as by the OOM killer, or whose system calls fail.

use crate::Call;
use crate::tracer::{self, Calls, Disturbed, Fault};

impl Call<'_> {
    /// Runs the call with `verb` with `fault` at the `nth` (1 is the first) of `calls`, and waits until it and all that it
    /// has started have ended.
    #[track_caller]
    pub fn disturbed(&self, verb: &str, calls: Calls<'_>, nth: usize, fault: Fault) -> Disturbed {
        let command = self.command(verb);
        self.node().run(|| tracer::disturb(&command, self.input(), calls, nth, fault))
    }

    /// Runs the call with `verb` and kills it with SIGKILL at its `nth` system call (1 is the first) of those in
    /// `system_calls` (`sendto,write`), counted over all its threads and processes; it is the process that makes the call
    /// that is killed. False when it came to its end before; panics when that was a failure.
    #[track_caller]
    pub fn killed_at(&self, verb: &str, system_calls: &str, nth: usize) -> bool {
        let disturbed = self.disturbed(verb, Calls::Named(system_calls), nth, Fault::Kill);
        assert!(disturbed.hit.is_some() || disturbed.finished.code == Some(0), "{}", disturbed.finished);
        disturbed.hit.is_some()
    }

    /// Kills ADD or DEL at each system call with an effect in turn: a DEL completes it, of which `assert_clean` is told, and the
    /// next ADD and DEL succeed.
    #[track_caller]
    pub fn completed_by_del_wherever_killed(&self, verb: &str, assert_clean: impl Fn(&str)) {
        for nth in 1.. {
            if verb == "DEL" {
                self.add().success();
            }
            let disturbed = self.disturbed(verb, Calls::Effects, nth, Fault::Kill);
            self.del().success();
            assert_clean(&format!("{verb} killed at {nth} ({:?})", disturbed.hit));
            if disturbed.hit.is_none() {
                assert!(nth > 10, "{verb}: only {nth} points");
                return;
            }
            self.add().success();
            self.del().success();
        }
    }
}
