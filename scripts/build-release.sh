#!/usr/bin/env bash
# Builds what goes on nodes into dist/: podlink, one static program that is all plugins and the operator's tool, and cnitool.
# usage: scripts/build-release.sh
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/rust.sh
need_cargo
cargo build --release --locked -p podlink -p cnitool
built=$(cargo metadata --format-version 1 --no-deps --locked | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
mkdir -p dist
# A copy that is running stays as it is.
cp --remove-destination "$built/$CARGO_BUILD_TARGET/release/"{podlink,cnitool} dist/
ls -l dist
