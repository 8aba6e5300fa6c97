//! The `bandwidth` executable.

fn main() -> std::process::ExitCode {
    cni::run(&podlink_bandwidth::Bandwidth)
}
