#!/bin/sh
# Builds the packages from a release build of this tree.
#
#   ./package.sh            the .deb into target/debian/, the .rpm into target/generate-rpm/, and the tarball where it can
#   ./package.sh deb|rpm    one of them
#   ./package.sh tar        static programs for any Linux, into target/tar/: needs Rust's musl target and musl-gcc
#
# The two tools that write the packages are installed into target/tools, at the versions named here.
# packaging/arch/PKGBUILD is for makepkg on Arch.
set -eu
cd "$(dirname "$0")"

CARGO_DEB=3.8.0
CARGO_GENERATE_RPM=0.21.1

say() { printf '%s\n' "$*" >&2; }

# A tool of cargo's, built once.
tool() {
    [ -x "target/tools/bin/$1" ] && grep -q "\"$1 $2 " target/tools/.crates.toml && return 0
    cargo install --quiet --locked --root target/tools "$1@$2"
}

programs() { cargo build --release --locked "$@"; }

# Programs apart from all else: the tools take one mode for each tree.
layout() {
    tree="target/packaging/$1"
    rm -rf "$tree"
    mkdir -p "$tree"
    packaging/stage "$2" "$tree/files" "$1"
    for folder in usr/bin usr/lib/sharekaro; do
        mkdir -p "$tree/programs/$folder"
        mv "$tree/files/$folder"/* "$tree/programs/$folder/"
        rmdir "$tree/files/$folder"
    done
}

deb() {
    tool cargo-deb "$CARGO_DEB"
    layout deb target/release
    # Debian's own changelog: which version, and when; what changed stands in ours.
    {
        printf 'sharekaro (%s-1) unstable; urgency=medium\n\n' "$version"
        printf '  * What changed: /usr/share/doc/sharekaro/changelog.gz\n\n'
        printf ' -- The ShareKaro contributors <packages@sharekaro.org>  %s\n' "$(LC_ALL=C date -u -R -d "@$epoch")"
    } >target/packaging/deb/changelog
    rm -f target/debian/*.deb
    SOURCE_DATE_EPOCH="$epoch" target/tools/bin/cargo-deb --quiet -p sharekarod --no-build --no-strip
    say target/debian/*.deb
}

rpm() {
    tool cargo-generate-rpm "$CARGO_GENERATE_RPM"
    layout rpm target/release
    rm -f target/generate-rpm/*.rpm
    target/tools/bin/cargo-generate-rpm -p sharekarod --source-date "$epoch"
    say target/generate-rpm/*.rpm
}

# What static programs lack here; nothing where they can be built.
static_lacks() {
    target=$(uname -m)-unknown-linux-musl
    [ -d "$(rustc --print sysroot)/lib/rustlib/$target" ] || printf '%s' "Rust for $target: rustup target add $target"
    command -v musl-gcc >/dev/null || printf '%s' " musl-gcc: sudo apt-get install musl-tools"
}

tarball() {
    target=$(uname -m)-unknown-linux-musl
    programs --target "$target"
    name="sharekaro-$version-$target"
    rm -rf "target/tar/$name"
    packaging/stage "target/$target/release" "target/tar/$name"
    install -m 755 packaging/tar/install "target/tar/$name/install"
    tar -C target/tar --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$epoch" -czf "target/tar/$name.tar.gz" "$name"
    say "target/tar/$name.tar.gz"
}

version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
# Two builds of one commit are one package.
epoch=$(git log -1 --format=%ct 2>/dev/null || date +%s)
case "${1:-all}" in
    all)
        programs
        deb
        rpm
        lacks=$(static_lacks)
        if [ -z "$lacks" ]; then tarball; else say "no tarball of static programs, as they need $lacks"; fi
        ;;
    deb | rpm)
        programs
        "$1"
        ;;
    tar)
        lacks=$(static_lacks)
        [ -z "$lacks" ] || { say "Static programs need $lacks" && exit 1; }
        tarball
        ;;
    *)
        say "usage: ./package.sh [deb | rpm | tar]"
        exit 2
        ;;
esac
