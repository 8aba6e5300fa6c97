# Sourced by the other scripts: Rust, and what it builds for.

# Runs a command that depends on a network up to three times.
retry() { "$@" || "$@" || "$@"; }

# Debian's own cargo is too old for this workspace, so it is named, not installed.
need_cargo() {
  [ -d "$HOME/.cargo/bin" ] && PATH=$HOME/.cargo/bin:$PATH
  local wanted found
  wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$(dirname "${BASH_SOURCE[0]}")/../Cargo.toml")
  found=$(cargo --version 2>/dev/null | awk '{print $2}') || true
  [ "$(printf '%s\n' "$wanted" "${found:-0}" | sort -V | head -n 1)" = "$wanted" ] || {
    echo "please install Rust $wanted or later (https://rustup.rs); cargo here: ${found:-none}" >&2
    return 1
  }
  for_musl
}

# What goes on nodes is linked with musl, and so is what the tests run. glibc, linked statically, asks the processor
# some eighty questions (CPUID) before main; a virtual machine answers each by way of its hypervisor, 0.6 ms in all here.
for_musl() {
  [ -z "${CARGO_BUILD_TARGET:-}" ] || return 0
  local musl
  musl=$(uname -m)-unknown-linux-musl
  if [ -d "$(rustc --print target-libdir --target "$musl")" ] || retry rustup target add "$musl" >&2; then
    export CARGO_BUILD_TARGET=$musl
  else
    CARGO_BUILD_TARGET=$(rustc -vV | sed -n 's/^host: //p')
    export CARGO_BUILD_TARGET
    echo "note: Rust has no $musl here (rustup target add $musl): building for $CARGO_BUILD_TARGET, whose programs start more slowly" >&2
  fi
}
