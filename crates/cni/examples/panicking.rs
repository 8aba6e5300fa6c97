//! A plugin with a bug: ADD panics, DEL does on a thread of its own, while the main thread waits.

use cni::{AttachmentCall, CniResult, Error, NetworkCall, Plugin};

struct Panicking;

impl Plugin for Panicking {
    fn name(&self) -> &'static str {
        "panicking"
    }

    fn add(&self, call: &AttachmentCall) -> Result<CniResult, Error> {
        panic!("no such thing in {}", call.attachment.container_id)
    }

    fn check(&self, _: &AttachmentCall) -> Result<(), Error> {
        Ok(())
    }

    fn del(&self, _: &AttachmentCall) -> Result<(), Error> {
        std::thread::scope(|scope| scope.spawn(|| panic!("in a thread")).join())
            .map_err(|_| unreachable!("it has ended"))
    }

    fn gc(&self, _: &NetworkCall, _: &[cni::Attachment]) -> Result<(), Error> {
        Ok(())
    }

    fn status(&self, _: &NetworkCall) -> Result<(), Error> {
        Ok(())
    }
}

fn main() -> std::process::ExitCode {
    cni::run(&Panicking)
}
