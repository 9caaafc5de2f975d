#!/bin/sh
# Builds in release and measures against raw quinn and plain TCP in the same run; needs root (two network namespaces).
#   ./bench.sh             all figures, some minutes
#   ./bench.sh --smoke     small sizes, once: shows that the bench itself works
set -eu
cd "$(dirname "$0")"
cargo build --release --locked
cargo build --release --locked -p sharekaro-bench
# Files in memory where there is room for them (containers have 64 MiB there): the disk is not what is measured.
if [ -z "${TMPDIR:-}" ] && [ -w /dev/shm ] && [ "$(df -Pk /dev/shm | awk 'NR == 2 { print $4 }')" -gt 4000000 ]; then
    export TMPDIR=/dev/shm
fi
exec target/release/sharekaro-bench "$@"
