#!/bin/sh
# Installs what the tests need, runs every check and every test, and ends with 0 only where all of them passed.
#
#   ./test.sh                 everything (20 to 40 minutes on two cores, most of it the first build)
#   ./test.sh e2e             whole processes on loopback; needs no privilege
#   ./test.sh lan [NAME...]   hosts in network namespaces; NAME selects tests
#   ./test.sh disks [NAME...] file systems in images, whose power is cut; needs root
#
# SHAREKARO_TESTS_SKIP_ROOT=1 leaves out the tests that need namespaces or root, and says so at the end.
# SHAREKARO_TESTS_ROUNDS=200 repeats what repeats itself (kills, power cuts, lossy paths) so often instead of a few times.
set -eu
cd "$(dirname "$0")"

# The errors of tests say what is wrong; where in the code they were made is of no use.
export RUST_LIB_BACKTRACE=0

say() { printf '%s\n' "$*" >&2; }

# command:package, each needed by a test of a whole process.
needed="ip:iproute2 nft:nftables ethtool:ethtool tc:iproute2 setpriv:util-linux tshark:tshark unshare:util-linux dbus-daemon:dbus dbus-send:dbus gdbus:libglib2.0-bin busctl:systemd systemd-analyze:systemd mkfs.ext4:e2fsprogs mkfs.xfs:xfsprogs xfs_io:xfsprogs mkfs.btrfs:btrfs-progs faketime:faketime"

install_needed() {
    PATH="$PATH:/usr/sbin:/sbin"
    export PATH
    packages=""
    for pair in $needed; do
        command -v "${pair%%:*}" >/dev/null 2>&1 || packages="$packages ${pair#*:}"
    done
    [ -n "$packages" ] || return 0
    # shellcheck disable=SC2086 # one word a package
    packages=$(printf '%s\n' $packages | sort -u | tr '\n' ' ')
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        as_root=""
    elif command -v apt-get >/dev/null && sudo -n true 2>/dev/null; then
        as_root="sudo -n"
    else
        say "The tests need packages that only root may install. Type, and then run ./test.sh again:"
        say "    sudo apt-get install $packages"
        exit 1
    fi
    say "installing $packages"
    $as_root apt-get update -qq
    # shellcheck disable=SC2086
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $packages >/dev/null
}

# The programs as users get them; the tests around them need no optimising, nor does the daemon that some of them kill
# at a named point.
build() {
    cargo build --release --locked
    cargo build --locked -p sharekarod --features crash-points
    cargo test --locked -p sharekaro-tests --no-run
    SHAREKARO_BIN="$PWD/target/release"
    SHAREKARO_CRASH_BIN="$PWD/target/debug"
    export SHAREKARO_BIN SHAREKARO_CRASH_BIN
}

e2e() {
    say "== whole processes on loopback"
    cargo test --locked -p sharekaro-tests --test e2e -- --test-threads 2 "$@"
}

# Namespaces need CAP_NET_ADMIN and CAP_SYS_ADMIN: root has them, and so has anybody inside a user namespace of his own.
lan() {
    say "== hosts in network namespaces"
    set -- cargo test --locked -p sharekaro-tests --test lan -- --test-threads 2 "$@"
    if [ "${SHAREKARO_TESTS_SKIP_ROOT:-}" = 1 ]; then
        skipped="LEFT OUT, as SHAREKARO_TESTS_SKIP_ROOT=1: the tests on a LAN of network namespaces (./test.sh lan)"
    elif [ "$(id -u)" = 0 ]; then
        "$@"
    elif unshare --user --map-root-user --net --mount true 2>/dev/null; then
        unshare --user --map-root-user --net --mount sh -c 'mount -t tmpfs tmpfs /run && mkdir -p /run/netns && exec "$@"' sh "$@"
    elif sudo -n true 2>/dev/null; then
        with_sudo "$@"
    else
        say "The tests on a LAN need network namespaces, and this user may make none. Do one of:"
        say "    sudo ./test.sh lan                                     run them as root"
        say "    sudo sysctl kernel.unprivileged_userns_clone=1         let users make namespaces of their own"
        say "    SHAREKARO_TESTS_SKIP_ROOT=1 ./test.sh                  leave them out knowingly"
        exit 1
    fi
}

# Loop devices belong to no namespace.
disks() {
    say "== disks whose power is cut, which fill and fail"
    set -- cargo test --locked -p sharekaro-tests --test disks -- --test-threads 1 "$@"
    if [ "${SHAREKARO_TESTS_SKIP_ROOT:-}" = 1 ]; then
        skipped="$skipped
LEFT OUT, as SHAREKARO_TESTS_SKIP_ROOT=1: the tests on disks of their own (./test.sh disks)"
    elif [ "$(id -u)" = 0 ]; then
        "$@"
    elif sudo -n true 2>/dev/null; then
        with_sudo "$@"
    else
        say "The tests on disks of their own need root, for loop devices. Do one of:"
        say "    sudo ./test.sh disks                   run them as root"
        say "    SHAREKARO_TESTS_SKIP_ROOT=1 ./test.sh  leave them out knowingly"
        exit 1
    fi
}

with_sudo() {
    sudo -n env "PATH=$PATH" "HOME=$HOME" "CARGO_HOME=${CARGO_HOME:-$HOME/.cargo}" "RUSTUP_HOME=${RUSTUP_HOME:-$HOME/.rustup}" \
        "SHAREKARO_BIN=$SHAREKARO_BIN" "SHAREKARO_CRASH_BIN=$SHAREKARO_CRASH_BIN" "SHAREKARO_TESTS_ROUNDS=${SHAREKARO_TESTS_ROUNDS:-}" "$@"
}

skipped=""
what="${1:-all}"
[ $# = 0 ] || shift
install_needed
case "$what" in
    all)
        ./check.sh
        build
        e2e
        lan
        disks
        ;;
    e2e)
        build
        e2e "$@"
        ;;
    lan)
        build
        lan "$@"
        ;;
    disks)
        build
        disks "$@"
        ;;
    *)
        say "usage: ./test.sh [all | e2e [NAME...] | lan [NAME...] | disks [NAME...]]"
        exit 2
        ;;
esac
[ -z "$skipped" ] || say "$skipped"
say "all of it passed"
