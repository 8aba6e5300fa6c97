//! The `static` executable.

fn main() -> std::process::ExitCode {
    cni::run(&podlink_static::Static)
}
