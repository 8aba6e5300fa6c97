//! The `portmap` executable.

fn main() -> std::process::ExitCode {
    cni::run(&podlink_portmap::Portmap)
}
