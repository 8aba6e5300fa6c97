//! The `flannel` executable.

fn main() -> std::process::ExitCode {
    cni::run(&podlink_flannel::Flannel)
}
