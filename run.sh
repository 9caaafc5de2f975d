#!/bin/sh
# Builds everything, starts the daemon and says what to type next. Where it runs already, it says that.
set -eu
cd "$(dirname "$0")"
bin="$PWD/target/release"

next() {
    cat <<EOF

    export PATH="$bin:\$PATH"     # once in this shell
    sharectl demo                 # two daemons on this machine, paired, a file sent: see what it does
    sharectl peers                # who is on this LAN (run ./run.sh on a second machine)
    sharectl pair NAME            # on both machines: compare the words, confirm
    sharectl send NAME FILE...    # it lands, verified, in ~/Downloads/ShareKaro there

EOF
}

# Answers within so many tenths of a second, or not.
answers() {
    tenths="$1"
    while ! "$bin/sharectl" status --json >/dev/null 2>&1; do
        tenths=$((tenths - 1))
        [ "$tenths" -gt 0 ] || return 1
        sleep 0.1
    done
}

start_as_unit() {
    "$bin/sharectl" daemon install --no-enable --quiet >/dev/null || return 1
    answers 150 || return 1
    echo "sharekarod runs as your systemd user unit: sharectl daemon status"
    echo "  stop it: sharectl daemon stop      start it at login too: sharectl daemon install"
}

start_in_background() {
    logs="${XDG_STATE_HOME:-$HOME/.local/state}/sharekaro"
    mkdir -p "$logs"
    setsid "$bin/sharekarod" </dev/null >>"$logs/sharekarod.log" 2>&1 &
    pid=$!
    if ! answers 150; then
        echo "sharekarod does not answer; the end of $logs/sharekarod.log:" >&2
        tail -n 5 "$logs/sharekarod.log" >&2
        exit 1
    fi
    echo "sharekarod runs in the background (not as a systemd user unit)."
    echo "  stop it: kill $pid      what it says: $logs/sharekarod.log"
}

command -v cargo >/dev/null || { echo "Rust is missing: https://rustup.rs installs it" >&2; exit 1; }
cargo build --release --locked

if answers 1; then
    echo "sharekarod runs already. What to type next:"
    next
    echo "This build is used after a restart: sharectl daemon restart, or stop it and ./run.sh"
else
    # A unit that is hardened needs namespaces; where users may make none, the daemon runs all the same.
    if ! { [ -n "$(systemctl --user show-environment 2>/dev/null)" ] && start_as_unit; }; then
        start_in_background
    fi
    echo "What to type next:"
    next
fi
