#!/bin/sh
# The one list of checks that need no network and no privilege: format, lints, documentation, unit tests.
# ./test.sh runs these first and then the tests of whole processes.
set -eu
cd "$(dirname "$0")"

step() { printf '\n== %s\n' "$*"; "$@"; }

step cargo fmt --all --check
step cargo clippy --workspace --all-targets --locked -- -D warnings
step env RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --document-private-items --locked --quiet
step cargo test --locked --workspace --exclude sharekaro-tests --features sharekarod/crash-points
step cargo test --locked -p sharekaro-tests --lib --test tidy
