#!/bin/bash
# Looks at the built packages ($SHAREKARO_DEB, $SHAREKARO_RPM) and the PKGBUILD: what they hold, what the linters of Debian
# and freedesktop say, and that each comes, is replaced, and goes without a trace on a system without a running systemd: a
# copy of this one's root, in namespaces of its own. How the .deb lives with systemd, tests/vm shows.
set -euo pipefail
cd "$(dirname "$0")/.."

top=$(mktemp -d)
trap 'rm -rf "$top"' EXIT
failed=""

fail() {
    printf 'NOT OK  %s\n' "$*"
    failed=1
}
# What is checked, and the command whose exit code and silence tell.
clean() {
    local what="$1" said
    shift
    if said=$("$@" 2>&1); then printf 'ok      %s\n' "$what"; else fail "$what: $said"; fi
}
silent() {
    local what="$1" said
    shift
    if said=$("$@" 2>&1) && [ -z "$said" ]; then printf 'ok      %s\n' "$what"; else fail "$what: $said"; fi
}
warnings_of_man() { { LC_ALL=C.UTF-8 MANWIDTH=80 man --warnings -E UTF-8 -l "$1" >/dev/null; } 2>&1; }

dpkg-deb -x "$SHAREKARO_DEB" "$top/deb"
silent "lintian finds no error and no warning" lintian --allow-root --fail-on error,warning --tag-display-limit 0 "$SHAREKARO_DEB"
for entry in "$top"/deb/usr/share/applications/*.desktop "$top"/deb/usr/share/Thunar/sendto/*.desktop; do
    silent "desktop-file-validate ${entry#"$top/deb/"}" desktop-file-validate "$entry"
done
clean "appstreamcli validate" appstreamcli validate --no-net "$top"/deb/usr/share/metainfo/*.xml
for page in "$top"/deb/usr/share/man/man*/*.gz; do
    silent "man ${page##*/}" warnings_of_man "$page"
done
clean "the bash completion is bash" bash -n "$top/deb/usr/share/bash-completion/completions/sharectl"
for file in "$top"/deb/usr/share/dbus-1/system.d/*.conf "$top"/deb/usr/share/polkit-1/actions/*.policy "$top"/deb/usr/lib/firewalld/services/*.xml; do
    clean "${file##*/} is XML" python3 -c 'import sys, xml.etree.ElementTree as tree; tree.parse(sys.argv[1])' "$file"
done
clean "the Nautilus entry is Python" python3 -c 'import ast, sys; ast.parse(open(sys.argv[1]).read())' "$top/deb/usr/share/nautilus-python/extensions/sharekaro.py"

# Both hold the same, save where the two kinds of systems keep things in different places.
same() { sed -E 's#/zsh/(vendor-completions|site-functions)/#/zsh/#' | grep -v -E '/(doc|licenses|lintian)/|-preset/|\.build-id' | sort; }
dpkg-deb -c "$SHAREKARO_DEB" | grep -v ^d | sed -E 's#^([^ ]+ +){5}\./##' | same >"$top/deb.list"
rpm -qpl --noartifact "$SHAREKARO_RPM" 2>/dev/null | sed 's#^/##' | same >"$top/rpm.list"
silent "the .deb and the .rpm hold the same" diff "$top/deb.list" "$top/rpm.list"
for program in sharekarod sharectl sharekaro-capture; do
    clean "$program is stripped, and any user may run it" test "$(stat -c %a "$top/deb/usr/bin/$program")" = 755 -a -z "$(file "$top/deb/usr/bin/$program" | grep 'not stripped')"
done

# What makepkg would pack is what the .rpm holds, under the version that is built.
arch() {
    bash -euc '
        startdir="$PWD/packaging/arch" pkgdir="$1"
        . "$startdir/PKGBUILD"
        package
        test -f "$startdir/$install"
        for file in "${backup[@]}"; do test -f "$pkgdir/$file"; done
        "$pkgdir/usr/bin/sharectl" --version | grep -q " $pkgver$"
        bash -n "$startdir/$install"
        . "$startdir/$install"
        declare -F post_install post_upgrade pre_remove post_remove >/dev/null
    ' arch "$top/arch" && find "$top/arch" ! -type d -printf '%P\n' | same | diff "$top/rpm.list" -
}
silent "the package for Arch holds the same as the .rpm" arch

# Runs a script in a copy of this machine's own root, in namespaces of its own, gone afterwards. `inside` runs a command
# there, `left_behind` fails where anything of ours is left.
mkdir "$top/chroot"
# shellcheck disable=SC2016 # what is expanded is expanded inside
in_a_copy() {
    TOP="$top/chroot" SIZE="$1" unshare --mount --pid --net --fork --kill-child --propagation private bash -euc '
        mount -t tmpfs -o "size=$SIZE" tmpfs "$TOP"; mkdir "$TOP"/{upper,work,all}
        mount -t overlay overlay -o lowerdir=/,upperdir="$TOP/upper",workdir="$TOP/work" "$TOP/all"
        mount -t proc proc "$TOP/all/proc"; mount --rbind /dev "$TOP/all/dev"
        mkdir -p "$TOP/all/srv/packages"; mount -t tmpfs tmpfs "$TOP/all/srv/packages"
        cp "$SHAREKARO_DEB" "$TOP/all/srv/packages/it.deb"; cp "$SHAREKARO_RPM" "$TOP/all/srv/packages/it.rpm"
        export DEBIAN_FRONTEND=noninteractive HOME=/srv
        state="$TOP/all/srv/.local/state/sharekaro"
        inside() { timeout 600 chroot "$TOP/all" "$@"; }
        left_behind() {
            cd "$TOP/upper"
            left=$(find . \( -iname "*sharekaro*" -o -name "*sharectl*" \) ! -type c ! -path "./srv/*" ! -path "./tmp/*" ! -path "*$(basename "$TOP")*")
            [ -z "$left" ] || { echo "left behind: $left"; exit 1; }
            ! inside sh -c "getent group | grep ^sharekaro"
        }
    '"$2"
}
# shellcheck disable=SC2016 # as above
clean "the .deb is installed, replaced, removed and purged without systemd, and nothing is left" in_a_copy 50% '
    inside dpkg -i /srv/packages/it.deb; inside sharectl --version; inside sharekarod --version; inside dpkg -V sharekaro
    mkdir -p "$state"; echo mine >"$state/kept"
    inside dpkg -i /srv/packages/it.deb       # an upgrade
    inside /var/lib/dpkg/info/sharekaro.postinst configure 0.0.1   # again, as after a power cut
    inside dpkg -r sharekaro; test ! -e "$TOP/all/usr/bin/sharekarod"
    inside dpkg -i /srv/packages/it.deb       # and back
    inside dpkg -P sharekaro
    grep -q mine "$state/kept"
    left_behind
'
# The scripts of the .rpm with the tools of this system; what it depends on is not in its database.
# shellcheck disable=SC2016
clean "the .rpm is installed, replaced and erased without systemd, and nothing is left" in_a_copy 50% '
    inside rpm -i --nodeps /srv/packages/it.rpm; inside sharectl --version; inside sharekarod --version
    inside sh -c "getent group sharekaro sharekaro-bus"
    mkdir -p "$state"; echo mine >"$state/kept"
    inside rpm -U --nodeps --replacepkgs /srv/packages/it.rpm   # an upgrade
    inside sharectl --version; inside sh -c "getent group sharekaro sharekaro-bus"
    inside rpm -e sharekaro; test ! -e "$TOP/all/usr/bin/sharekarod"
    grep -q mine "$state/kept"
    left_behind
'
# shellcheck disable=SC2016
clean "a disk that is full while it is installed costs nothing, and with room it is installed" in_a_copy 8m '
    mkdir -p "$state"; echo mine >"$state/kept"
    if inside dpkg -i /srv/packages/it.deb; then echo "it fits into 8 MiB: make the disk smaller"; exit 1; fi
    mount -o remount,size=1g "$TOP"
    inside dpkg -i /srv/packages/it.deb; inside sharekarod --version; inside dpkg -V sharekaro
    inside dpkg -P sharekaro
    grep -q mine "$state/kept"
    left_behind
'

[ -z "$failed" ] || exit 1
