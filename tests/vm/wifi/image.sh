#!/bin/sh
# Builds the disk that the machines of tests/vm/wifi boot from: Debian 12 with the kernel that has simulated radios
# (mac80211_hwsim), hostapd and wpa_supplicant, and a root shell on the second serial port for the tests. No systemd: a
# machine of radios is there to be short-lived. Nothing of ShareKaro is on it.
#
#   tests/vm/wifi/image.sh DIR   leaves DIR/disk.ext4, DIR/vmlinuz and DIR/initrd.img; needs root and a Debian mirror
set -eu

out="$1"
mkdir -p "$out"
work=$(mktemp -d "$out/building.XXXXXX")
trap 'rm -rf "$work"' EXIT
root="$work/root"

# The cloud kernel has no Wi-Fi. Python makes the frames of those who misbehave.
packages="linux-image-amd64,initramfs-tools,kmod,wireless-regdb,iw,hostapd,wpasupplicant,iproute2,iputils-ping,libcap2-bin,\
python3-minimal,procps"

cat >"$work/inside" <<'EOF'
set -eu
useradd --create-home --shell /bin/bash anna
echo machine >/etc/hostname
echo '127.0.0.1 localhost machine' >/etc/hosts

# Only what a disk on virtio needs: an initrd with everything takes an emulated processor half a minute to unpack.
sed -i 's/^MODULES=.*/MODULES=list/' /etc/initramfs-tools/initramfs.conf
printf 'virtio_pci\nvirtio_blk\next4\n' >>/etc/initramfs-tools/modules
update-initramfs -u >/dev/null

# The first process: it reads commands from the test and answers; the same terminal is its input and its output. What is
# no whole line of base64, as while the machine boots, is nothing.
cat >/sbin/test-init <<'SHELL'
#!/bin/bash --noprofile
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8
mountpoint -q /proc || mount -t proc proc /proc
mountpoint -q /sys || mount -t sysfs sys /sys
mountpoint -q /dev || mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp
mount -t tmpfs run /run
ip link set lo up
stty -F /dev/ttyS1 raw -echo
exec <>/dev/ttyS1 >&0
while :; do
    IFS= read -r line || continue
    script=$(base64 --decode <<<"$line" 2>/dev/null) && eval "$script"
done
SHELL
chmod 755 /sbin/test-init
EOF

# shellcheck disable=SC2016 # $1 is for mmdebstrap's shell: the root that it builds
mmdebstrap --quiet --variant=minbase --include="$packages" \
    --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/lib/modules/*/kernel/drivers/gpu/*' --dpkgopt='path-exclude=/lib/modules/*/kernel/drivers/media/*' \
    --dpkgopt='path-exclude=/lib/modules/*/kernel/drivers/net/ethernet/*' --dpkgopt='path-exclude=/lib/modules/*/kernel/sound/*' \
    --aptopt='Acquire::Languages "none"' \
    --customize-hook="copy-in $work/inside /tmp" --customize-hook='chroot "$1" sh /tmp/inside' --customize-hook='rm "$1/tmp/inside"' \
    bookworm "$root"

cp -L "$root/vmlinuz" "$work/vmlinuz"
cp -L "$root/initrd.img" "$work/initrd.img"
truncate -s 1500M "$work/disk.ext4"
/sbin/mke2fs -q -t ext4 -d "$root" -E lazy_itable_init=0 "$work/disk.ext4"
mv "$work/vmlinuz" "$work/initrd.img" "$work/disk.ext4" "$out/"
