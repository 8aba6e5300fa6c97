//! The `loopback` executable.

fn main() -> std::process::ExitCode {
    cni::run(&podlink_loopback::Loopback)
}
