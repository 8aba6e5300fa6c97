#!/usr/bin/env bash
# Benchmarks podlink's plugins against the Go reference in /usr/lib/cni, as root: builds, measures, writes tables and plots.
# usage: scripts/bench.sh [--quick] [--reference DIR] [--rounds N] [--only CASE]... [--output DIR] [--check FILE] [--publish] | --help
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/rust.sh
need_cargo
arguments=()
while [ $# -gt 0 ]; do
  case $1 in
    --reference) export PODLINK_REFERENCE_DIR=${2:?--reference needs a directory}; shift 2 ;;
    # cargo runs the benchmark in tests/.
    --output | --check) arguments+=("$1" "$(realpath -m -- "${2:?$1 needs a path}")"); shift 2 ;;
    *) arguments+=("$1"); shift ;;
  esac
done
[ -e "${PODLINK_REFERENCE_DIR:-/usr/lib/cni}/bridge" ] || { echo "please install: containernetworking-plugins" >&2; exit 1; }

scripts/build-release.sh >/dev/null
# As on a node: one program under the names of the plugins.
suite=$(mktemp -d)
trap 'rm -r "$suite"' EXIT
cp dist/podlink "$suite/podlink"
for plugin in plugins/*/; do ln "$suite/podlink" "$suite/$(basename "$plugin")"; done
export PODLINK_BIN_DIR=$suite
# The measuring program is not measured: it need not be linked as a whole, which takes minutes.
export CARGO_PROFILE_BENCH_LTO=off CARGO_PROFILE_BENCH_CODEGEN_UNITS=16
cargo bench --quiet -p podlink-tests --bench suite -- "${arguments[@]}"
