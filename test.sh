#!/bin/sh
# Installs what the tests need, runs every check and every test, and ends with 0 only where all of them passed.
#
#   ./test.sh                 everything (20 to 40 minutes on two cores, most of it the first build)
#   ./test.sh e2e             whole processes on loopback; needs no privilege
#   ./test.sh lan [NAME...]   hosts in network namespaces; NAME selects tests
#   ./test.sh disks [NAME...] file systems in images, whose power is cut; needs root
#   ./test.sh packages        builds the packages, has the linters read them, installs and removes the .deb (root)
#   ./test.sh vm              boots a Debian under qemu and lives through the .deb on it (root; 10 minutes on an idle
#                             machine, and 5 more for its image the first time, kept in ~/.cache/sharekaro-vm)
#   ./test.sh wifi [NAME...]  boots a machine of simulated radios, on which somebody attacks its Wi-Fi and its LAN, and
#                             reads what the monitor names (root; the image takes 3 minutes the first time)
#   ./test.sh release         all of these: before a release
#
# SHAREKARO_TESTS_SKIP_ROOT=1 leaves out the tests that need namespaces or root, and says so at the end.
# SHAREKARO_TESTS_ROUNDS=200 repeats what repeats itself (kills, power cuts, lossy paths) so often instead of a few times.
# SHAREKARO_TESTS_MESSAGES=10000 and SHAREKARO_TESTS_FILES=5000 make the storms of messages and of dropped files that large.
set -eu
cd "$(dirname "$0")"

# The errors of tests say what is wrong; where in the code they were made is of no use.
export RUST_LIB_BACKTRACE=0

say() { printf '%s\n' "$*" >&2; }

# command:package, each needed by a test of a whole process.
needed="ip:iproute2 nft:nftables ethtool:ethtool tc:iproute2 setpriv:util-linux tshark:tshark unshare:util-linux nsenter:util-linux dbus-daemon:dbus dbus-send:dbus gdbus:libglib2.0-bin busctl:systemd systemd-analyze:systemd mkfs.ext4:e2fsprogs mkfs.xfs:xfsprogs xfs_io:xfsprogs mkfs.btrfs:btrfs-progs faketime:faketime tmux:tmux python3:python3 Xvfb:xvfb dunst:dunst xclip:xclip import:imagemagick virtualenv:virtualenv"

# Beside these, what only the packages and the booted machine need.
needed_packages="lintian:lintian desktop-file-validate:desktop-file-utils appstreamcli:appstream man:man-db rpm:rpm file:file python3:python3"
needed_wifi="qemu-system-x86_64:qemu-system-x86 mmdebstrap:mmdebstrap mke2fs:e2fsprogs setpriv:util-linux"
needed_vm="qemu-system-x86_64:qemu-system-x86 mmdebstrap:mmdebstrap mke2fs:e2fsprogs ip:iproute2 tc:iproute2 setpriv:util-linux"

install_needed() {
    PATH="$PATH:/usr/sbin:/sbin"
    export PATH
    packages=""
    for pair in "$@"; do
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

# A client of the bus that nobody here wrote, in another language.
python_client() {
    [ -x target/python/bin/python3 ] || virtualenv --quiet target/python
    target/python/bin/python3 -c "import jeepney" 2>/dev/null || target/python/bin/pip install --quiet jeepney==0.9.0
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
    python_client
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
    if ! disks_can_be_slow; then
        set -- "$@" --skip slow::
        skipped="$skipped
LEFT OUT, as this machine has no blkio controller of cgroup version 1 for us: the tests on slow disks (./test.sh disks slow)"
    fi
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

# What slows a disk down for one process is a controller of the kernel, which many machines and most containers lack.
disks_can_be_slow() {
    as_root=""
    [ "$(id -u)" = 0 ] || as_root="sudo -n"
    try="/sys/fs/cgroup/blkio/sharekaro-try-$$"
    $as_root mkdir "$try" 2>/dev/null && $as_root test -w "$try/blkio.throttle.write_bps_device" && $as_root rmdir "$try"
}

with_sudo() {
    sudo -n env "PATH=$PATH" "HOME=$HOME" "CARGO_HOME=${CARGO_HOME:-$HOME/.cargo}" "RUSTUP_HOME=${RUSTUP_HOME:-$HOME/.rustup}" \
        "SHAREKARO_BIN=$SHAREKARO_BIN" "SHAREKARO_CRASH_BIN=$SHAREKARO_CRASH_BIN" "SHAREKARO_TESTS_ROUNDS=${SHAREKARO_TESTS_ROUNDS:-}" \
        "SHAREKARO_TESTS_MESSAGES=${SHAREKARO_TESTS_MESSAGES:-}" "SHAREKARO_TESTS_FILES=${SHAREKARO_TESTS_FILES:-}" "$@"
}

as_root_only() {
    [ "$(id -u)" = 0 ] && return 0
    say "This needs root: sudo ./test.sh $1"
    exit 1
}

# The one that ./package.sh left.
built() { find "$PWD/target/$1" -maxdepth 1 -name "*.$2"; }

packages() {
    say "== the packages"
    ./package.sh
    SHAREKARO_DEB=$(built debian deb) SHAREKARO_RPM=$(built generate-rpm rpm) tests/packages.sh
}

# The image is made once for each version of the script that makes it.
vm() {
    say "== a machine that boots"
    ./package.sh deb
    SHAREKARO_DEB=$(built debian deb)
    SHAREKARO_VM_IMAGE="${XDG_CACHE_HOME:-$HOME/.cache}/sharekaro-vm/$(sha256sum <tests/vm/image.sh | cut -c1-16)"
    SHAREKARO_BIN="$PWD/target/release"
    export SHAREKARO_DEB SHAREKARO_VM_IMAGE SHAREKARO_BIN
    [ -f "$SHAREKARO_VM_IMAGE/disk.ext4" ] || tests/vm/image.sh "$SHAREKARO_VM_IMAGE"
    cargo test --locked -p sharekaro-tests --test vm -- --nocapture
}

wifi() {
    say "== a machine of simulated radios"
    cargo build --release --locked
    SHAREKARO_BIN="$PWD/target/release"
    SHAREKARO_WIFI_IMAGE="${XDG_CACHE_HOME:-$HOME/.cache}/sharekaro-vm/wifi-$(sha256sum <tests/vm/wifi/image.sh | cut -c1-16)"
    export SHAREKARO_BIN SHAREKARO_WIFI_IMAGE
    [ -f "$SHAREKARO_WIFI_IMAGE/disk.ext4" ] || tests/vm/wifi/image.sh "$SHAREKARO_WIFI_IMAGE"
    cargo test --locked -p sharekaro-tests --test wifi -- --test-threads 1 --nocapture "$@"
}

skipped=""
what="${1:-all}"
[ $# = 0 ] || shift
# shellcheck disable=SC2086 # one word a command
case "$what" in
    packages) install_needed $needed_packages ;;
    vm) install_needed $needed_vm ;;
    wifi) install_needed $needed_wifi ;;
    release) install_needed $needed $needed_packages $needed_vm $needed_wifi ;;
    *) install_needed $needed ;;
esac
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
    packages)
        as_root_only packages
        packages
        ;;
    vm)
        as_root_only vm
        vm
        ;;
    wifi)
        as_root_only wifi
        wifi "$@"
        ;;
    release)
        as_root_only release
        ./check.sh
        build
        e2e
        lan
        disks
        packages
        vm
        wifi
        ;;
    *)
        say "usage: ./test.sh [all | e2e [NAME...] | lan [NAME...] | disks [NAME...] | packages | vm | wifi [NAME...] | release]"
        exit 2
        ;;
esac
[ -z "$skipped" ] || say "$skipped"
say "all of it passed"
