//! The `tuning` executable.

fn main() -> std::process::ExitCode {
    cni::run(&podlink_tuning::Tuning)
}
