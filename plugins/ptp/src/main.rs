//! The `ptp` executable.

fn main() -> std::process::ExitCode {
    cni::run(&podlink_ptp::Ptp)
}
