//! The `firewall` executable.

fn main() -> std::process::ExitCode {
    cni::run(&podlink_firewall::Firewall)
}
