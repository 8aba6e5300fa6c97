#!/usr/bin/env bash
# Benchmarks podlink's plugins against the Go reference in /usr/lib/cni (or $PODLINK_REFERENCE_DIR), as root.
# usage: scripts/bench.sh [--rounds N] [--at-most CASE:VERB=RATIO]...   (cases: plain, ipMasq)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
[ -d "$HOME/.cargo/bin" ] && PATH=$HOME/.cargo/bin:$PATH
[ -e "${PODLINK_REFERENCE_DIR:-/usr/lib/cni}/bridge" ] || { echo "please install: containernetworking-plugins" >&2; exit 1; }
cargo build --release --quiet -p podlink
# As on a node: one program under the names of the plugins.
suite=$(mktemp -d)
trap 'rm -r "$suite"' EXIT
cp target/*/release/podlink "$suite/podlink"
for name in bridge host-local; do ln "$suite/podlink" "$suite/$name"; done
export PODLINK_BIN_DIR=$suite
cargo bench --quiet -p podlink-tests --bench bridge -- "$@"
