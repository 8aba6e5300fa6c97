#!/usr/bin/env bash
# Benchmarks podlink's plugins against the Go reference in /usr/lib/cni (or $PODLINK_REFERENCE_DIR), as root.
# usage: scripts/bench.sh [--rounds N] [--at-most CASE:VERB=RATIO]...   (cases: plain, ipMasq)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
[ -d "$HOME/.cargo/bin" ] && PATH=$HOME/.cargo/bin:$PATH
[ -e "${PODLINK_REFERENCE_DIR:-/usr/lib/cni}/bridge" ] || { echo "please install: containernetworking-plugins" >&2; exit 1; }
cargo build --release --quiet -p podlink-bridge -p podlink-host-local
exec cargo bench --quiet -p podlink-tests --bench bridge -- "$@"
