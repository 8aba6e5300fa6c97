//! A plugin that is killed in the middle of a call, as by the OOM killer.

use std::process::Command;

use crate::{Call, need};

impl Call<'_> {
    /// Runs the call with `verb` and kills it with SIGKILL at its `nth` system call (1 is the first) of those in
    /// `system_calls`, counted in each of its threads: `sendto,write`. False when it came to its end before; panics
    /// when that was a failure.
    #[track_caller]
    pub fn killed_at(&self, verb: &str, system_calls: &str, nth: usize) -> bool {
        let call = self.command(verb);
        let mut command = Command::new(need::tool("strace"));
        let inject = format!("inject={system_calls}:signal=KILL:when={nth}");
        command.args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={system_calls}"), "-e", &inject]);
        command.arg(call.get_program()).env_clear();
        command.envs(call.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let finished = self.node().finish(&mut command, self.input());
        // strace ends itself by the signal that its child ended by.
        assert!(matches!(finished.code, None | Some(0)), "{finished}");
        finished.code.is_none()
    }
}
