//! The `bridge` executable.

fn main() -> std::process::ExitCode {
    cni::run(&podlink_bridge::Bridge)
}
