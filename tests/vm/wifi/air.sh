# The air of tests/vm/wifi, and the LAN behind its access point: functions for the machine's shell.
#
#   here             wlan0, our station, and the daemon: 10.9.0.2
#   namespace ap     wlan1, the access point of "HomeNet", on a bridge whose address is the gateway's: 10.9.0.1
#   mallory, dave    on cables into that bridge: 10.9.0.66 and 10.9.0.77
#   rogue            wlan2, whoever pretends to be HomeNet, with a gateway of his own: 10.9.0.1 too
#   forger           wlan3, which sends what nobody else would
#
# What begins something odd prints, as its last line, the time in seconds since 1970 at which it began.

US=02:00:00:00:00:00
POINT=02:00:00:00:01:00
GATEWAY=02:00:00:00:01:fe
KEY='correct horse'
CHANNELS='2412 2437 2462'

ap() { ip netns exec ap "$@"; }
rogue() { ip netns exec rogue "$@"; }
now() { date +%s.%N; }

# Tries until it holds; for so many seconds.
await() {
    local tries=$(($1 * 5))
    shift
    until "$@" >/dev/null 2>&1; do
        tries=$((tries - 1))
        [ $tries -gt 0 ] || { echo "in vain: $*"; return 1; }
        sleep 0.2
    done
}

radios() {
    local radio namespace
    for module in ctr ccm cmac gcm sch_netem veth bridge; do modprobe $module || return; done
    modprobe mac80211_hwsim radios=4 || return
    for namespace in ap rogue forger mallory dave; do
        ip netns add $namespace && ip -n $namespace link set lo up || return
    done
    radio=0
    for namespace in ap rogue forger; do
        radio=$((radio + 1))
        iw phy phy$radio set netns name $namespace || return
    done
    sysctl -q net.ipv4.ping_group_range='0 2147483647' # as systemd sets it
}

lan() {
    local host
    ip -n ap link add br0 address $GATEWAY type bridge
    ip -n ap addr add 10.9.0.1/24 dev br0 && ip -n ap link set br0 up || return
    for host in mallory:66 dave:77; do
        ip link add eth0 netns ${host%:*} address 02:00:00:00:0a:${host#*:} type veth peer name ${host%:*} netns ap || return
        ip -n ap link set ${host%:*} master br0 up
        ip -n ${host%:*} addr add 10.9.0.${host#*:}/24 dev eth0 && ip -n ${host%:*} link set eth0 up || return
    done
    ip netns exec forger iw dev wlan3 set type monitor && ip -n forger link set wlan3 up || return
    ip netns exec forger iw dev wlan3 set channel 1
}

# An access point: namespace, interface, channel, key ("" is none), further lines of hostapd's configuration.
point() {
    local namespace=$1 interface=$2 channel=$3 key=$4
    shift 4
    {
        printf 'interface=%s\ndriver=nl80211\nctrl_interface=/run/hostapd-%s\n' "$interface" "$namespace"
        printf 'ssid=HomeNet\nhw_mode=g\nchannel=%s\nbeacon_int=100\n' "$channel"
        [ -z "$key" ] || printf 'wpa=2\nwpa_key_mgmt=WPA-PSK\nrsn_pairwise=CCMP\nieee80211w=1\nwpa_passphrase=%s\n' "$key"
        printf '%s\n' "$@"
    } >/tmp/$namespace.conf
    ip netns exec "$namespace" hostapd -B -t -f /tmp/$namespace.log -P /run/$namespace.pid /tmp/$namespace.conf
}

home() { point ap wlan1 "${1:-1}" "${2-$KEY}" bridge=br0 "${@:3}"; }

# Runs what begins something odd, and prints when.
begin() {
    now >/tmp/began
    "$@" || return
    cat /tmp/began
}

home_cli() { ap hostapd_cli -p /run/hostapd-ap -i wlan1 "$@"; }

# An access point is gone from one moment to the next, as when its plug is pulled: namespace, interface.
crash() {
    kill -9 "$(cat /run/"$1".pid)"
    ip -n "$1" link set "$2" down
}

# ... and whoever listens goes elsewhere; the evidence is that it arrives there.
crash_and_go_to() {
    crash ap wlan1
    await 40 connected_to "$1" && associated
}

# When our station came to where it is, as the supplicant says.
associated() { grep 'Associated with' /tmp/supplicant.log | tail -n 1 | cut -d: -f1; }

# The key is forgotten on the access point, and our station, which had left, goes there all the same.
open_home() {
    wpa disconnect && crash ap wlan1
    home 1 '' || return
    wpa add_network && wpa set_network 1 ssid '"HomeNet"' && wpa set_network 1 key_mgmt NONE && wpa set_network 1 scan_freq 2412 || return
    now >/tmp/began
    wpa select_network 1 && await 60 connected_to $POINT && cat /tmp/began
}

closed_home() {
    wpa remove_network 1
    crash ap wlan1
    home && wpa select_network 0 && await 60 connected
}

# So short that nobody has noticed yet; afterwards it knows none of its stations.
restart() {
    crash ap wlan1
    sleep 0.4
    home
}

lose() { ap tc qdisc add dev wlan1 root netem loss 100%; }
keep() { ap tc qdisc del dev wlan1 root; }

# Somebody pretends to be HomeNet: his address, his channel, his key ("" is none).
twin() {
    ip -n rogue link set wlan2 down
    ip -n rogue link set wlan2 address "$1"
    point rogue wlan2 "$2" "$3" || return
    ip -n rogue addr replace 10.9.0.1/24 dev wlan2
}

supplicant() {
    printf 'ctrl_interface=/run/wpa\nnetwork={\nssid="HomeNet"\npsk="%s"\nkey_mgmt=WPA-PSK\nieee80211w=1\nscan_freq=%s\n}\n' \
        "$KEY" "$CHANNELS" >/tmp/supplicant.conf
    ip link set wlan0 up
    wpa_supplicant -B -t -i wlan0 -D nl80211 -c /tmp/supplicant.conf -f /tmp/supplicant.log || return
    await 30 connected || return
    ip addr add 10.9.0.2/24 dev wlan0 && ip route add default via 10.9.0.1 && ping -c 1 -W 5 10.9.0.1
}

wpa() { wpa_cli -p /run/wpa -i wlan0 "$@"; }
connected() { wpa status | grep -q wpa_state=COMPLETED; }
connected_to() { connected && wpa status | grep -q "bssid=$1"; }
protected() { iw dev wlan0 station dump | grep -q "MFP:.*$1"; }

# Joins again, with management frames protected (2) or not (0).
protect() {
    wpa set_network 0 ieee80211w "$1" && wpa reassociate && sleep 1 && await 30 connected
}

# shellcheck disable=SC2086 # one word a channel
scan() { iw dev wlan0 scan freq $CHANNELS >/tmp/scan; }

gone() { kill -9 "$(cat /run/rogue.pid)" && ip -n rogue link set wlan2 down && iw dev wlan0 scan flush freq 2412 >/dev/null; }

frames() {
    local namespace=$1
    shift
    ip netns exec "$namespace" python3 /mnt/frames.py "$@"
}

# The daemon, as anna; "watched" is what sharectl says to her.
anna() {
    setpriv --reuid anna --regid anna --init-groups env -i HOME=/home/anna USER=anna LANG=C.UTF-8 PATH=/usr/local/bin:/usr/bin:/bin \
        XDG_RUNTIME_DIR=/run/anna SHAREKARO_DBUS=false SHAREKARO_NAME=machine RUST_LOG=info "$@"
}

install_programs() {
    local program
    for program in sharekarod sharectl sharekaro-capture; do install -m 755 /mnt/$program /usr/local/bin/ || return; done
    install -d -o anna -g anna -m 700 /run/anna
}

# With the right to capture, or without: "with", "without".
daemon() {
    case $1 in
        with) setcap cap_net_raw=ep /usr/local/bin/sharekaro-capture ;;
        without) setcap -r /usr/local/bin/sharekaro-capture 2>/dev/null || true ;;
    esac
    anna sharekarod >>/tmp/daemon.log 2>&1 &
    await 120 anna sharectl status --json
}

end_daemon() {
    kill "$(pgrep -x sharekarod)"
    await 30 eval '! pgrep -x sharekarod'
}
