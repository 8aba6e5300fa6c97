//! The `host-local` executable; see the library.

fn main() -> std::process::ExitCode {
    cni::run(&host_local::HostLocal)
}
