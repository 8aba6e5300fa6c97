#!/usr/bin/env bash
# Builds and runs every fuzz target: scripts/fuzz.sh [seconds for each, 60] [target ...]
#
# Needs a C++ compiler (libFuzzer) and any toolchain: the coverage counters are asked for with stable flags, so neither
# nightly nor cargo-fuzz is needed, though `cargo fuzz run TARGET` works as well. New inputs that reach more code go to
# the target directory (fuzz/corpus); fuzz/seeds is what everybody starts from. An input that crashes is written to fuzz/artifacts.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
[ -d "$HOME/.cargo/bin" ] && export PATH=$HOME/.cargo/bin:$PATH
seconds=${1:-60}
shift || true

host=$(rustc -vV | sed -n 's/^host: //p')
target_dir=${CARGO_TARGET_DIR:-$PWD/target}/fuzz
coverage=(-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters
    -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares)
export CARGO_TARGET_DIR=$target_dir
# An explicit target, so that the flags do not reach build scripts.
RUSTFLAGS="--cfg fuzzing -Ccodegen-units=1 ${coverage[*]}" \
    cargo build --quiet --release --manifest-path fuzz/Cargo.toml --target "$host" --bins

if [ $# -eq 0 ]; then
    for source in fuzz/fuzz_targets/*.rs; do set -- "$@" "$(basename "$source" .rs)"; done
fi
failed=()
for name in "$@"; do
    corpus=$target_dir/corpus/$name
    mkdir -p "$corpus" "fuzz/artifacts/$name"
    echo "== $name, $seconds s"
    "$target_dir/$host/release/$name" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
        -verbosity=0 -artifact_prefix="fuzz/artifacts/$name/" "$corpus" "fuzz/seeds/$name" || failed+=("$name")
done
[ ${#failed[@]} -eq 0 ] || { echo "found something: ${failed[*]} (see fuzz/artifacts)" >&2; exit 1; }
