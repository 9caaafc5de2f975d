#!/bin/sh
# The one list of checks that need no network and no privilege: format, lints, documentation, unit tests.
# ./test.sh runs these first and then the tests of whole processes.
set -eu
cd "$(dirname "$0")"

step() { printf '\n== %s\n' "$*"; "$@"; }

step cargo fmt --all --check
step cargo clippy --workspace --all-targets --locked -- -D warnings
RUSTDOCFLAGS="-D warnings" step cargo doc --workspace --no-deps --document-private-items --locked --quiet
# The daemon, the command line, the protocol, the decoders under fire and the arrows between the rooms.
step cargo test --locked -p sharekaro-proto -p sharekarod -p sharectl -p sharekaro-fuzz
step cargo test --locked -p sharekaro-tests --lib --test tidy
