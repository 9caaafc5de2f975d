#!/bin/bash
# Looks at the built packages ($SHAREKARO_DEB, $SHAREKARO_RPM): what they hold, what the linters of Debian and freedesktop
# say, and that the .deb comes, is replaced, and goes without a trace on a system without a running systemd: a copy of
# this one's root, in namespaces of its own. How it lives with systemd, tests/vm shows.
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

# shellcheck disable=SC2016 # what is expanded is expanded inside
lives_and_leaves() {
    unshare --mount --pid --net --fork --kill-child --propagation private bash -euc '
        mount -t tmpfs tmpfs "$TOP"; mkdir "$TOP"/{upper,work,all}
        mount -t overlay overlay -o lowerdir=/,upperdir="$TOP/upper",workdir="$TOP/work" "$TOP/all"
        mount -t proc proc "$TOP/all/proc"; mount --rbind /dev "$TOP/all/dev"
        export DEBIAN_FRONTEND=noninteractive HOME=/srv; cp "$SHAREKARO_DEB" "$TOP/all/srv/it.deb"
        inside() { timeout 120 chroot "$TOP/all" "$@"; }
        state="$TOP/all/srv/.local/state/sharekaro"
        inside dpkg -i /srv/it.deb; inside sharectl --version; inside sharekarod --version; inside dpkg -V sharekaro
        mkdir -p "$state"; echo mine >"$state/kept"
        inside dpkg -i /srv/it.deb       # an upgrade
        inside /var/lib/dpkg/info/sharekaro.postinst configure 0.0.1   # again, as after a power cut
        inside dpkg -r sharekaro; test ! -e "$TOP/all/usr/bin/sharekarod"
        inside dpkg -i /srv/it.deb       # and back
        inside dpkg -P sharekaro
        grep -q mine "$state/kept"
        cd "$TOP/upper"
        left=$(find . \( -iname "*sharekaro*" -o -name "*sharectl*" \) ! -type c ! -path "./srv/*" ! -path "./tmp/*" ! -path "*$(basename "$TOP")*")
        [ -z "$left" ] || { echo "left behind: $left"; exit 1; }
        ! inside sh -c 'getent group | grep ^sharekaro'
    '
}
mkdir "$top/chroot"
TOP="$top/chroot" clean "it is installed, replaced, removed and purged without systemd, and nothing is left" lives_and_leaves

[ -z "$failed" ] || exit 1
