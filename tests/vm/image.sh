#!/bin/sh
# Builds the disk that the machines of tests/vm boot from: Debian 12 with systemd, a person who logs in at the first
# console, and a root shell on the second serial port for the tests. Nothing of ShareKaro is on it.
#
#   tests/vm/image.sh DIR     leaves DIR/disk.ext4, DIR/vmlinuz and DIR/initrd.img; needs root and a Debian mirror
set -eu

out="$1"
mkdir -p "$out"
work=$(mktemp -d "$out/building.XXXXXX")
trap 'rm -rf "$work"' EXIT
root="$work/root"

# libpam-systemd and dbus-user-session make a login a session with a manager and a bus, as on any desktop.
packages="systemd-sysv,udev,dbus,dbus-user-session,libpam-systemd,linux-image-cloud-amd64,initramfs-tools,iproute2,kmod,\
procps,libcap2-bin,login,passwd,adduser,libglib2.0-bin,nftables,polkitd"

cat >"$work/inside" <<'EOF'
set -eu
useradd --create-home --shell /bin/bash anna
passwd --delete root >/dev/null
echo machine >/etc/hostname
echo '127.0.0.1 localhost machine' >/etc/hosts
printf '/dev/vda / ext4 rw 0 1\n' >/etc/fstab

# Only what a disk on virtio needs: an initrd with everything takes an emulated processor half a minute to unpack.
sed -i 's/^MODULES=.*/MODULES=list/' /etc/initramfs-tools/initramfs.conf
printf 'virtio_pci\nvirtio_blk\next4\n' >>/etc/initramfs-tools/modules
update-initramfs -u >/dev/null

printf '[Match]\nName=eth0\n[Network]\nAddress=10.77.0.100/24\nMulticastDNS=no\nLinkLocalAddressing=no\n' >/etc/systemd/network/lan.network
systemctl enable systemd-networkd >/dev/null 2>&1
systemctl disable systemd-networkd-wait-online apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer fstrim.timer e2scrub_all.timer e2scrub_reap.service >/dev/null 2>&1 || true
systemctl mask serial-getty@ttyS0.service >/dev/null 2>&1
mkdir -p /var/log/journal

mkdir -p /etc/systemd/system/getty@tty1.service.d
printf '[Service]\nExecStart=\nExecStart=-/sbin/agetty --autologin anna --noclear %%I linux\n' >/etc/systemd/system/getty@tty1.service.d/autologin.conf

# Reads commands from the test and answers; the same terminal is its input and its output. What is no whole line of
# base64, as while the machine boots, is nothing.
cat >/usr/local/bin/test-shell <<'SHELL'
while IFS= read -r line; do
    script=$(base64 --decode <<<"$line" 2>/dev/null) && eval "$script"
done
SHELL
cat >/etc/systemd/system/test-shell.service <<'UNIT'
[Unit]
Description=A root shell for the tests, on the second serial port
After=systemd-user-sessions.service
[Service]
ExecStartPre=/bin/stty -F /dev/ttyS1 raw -echo
ExecStart=/bin/bash --noprofile --norc /usr/local/bin/test-shell
StandardInput=tty-force
StandardOutput=tty
StandardError=journal
TTYPath=/dev/ttyS1
Environment=HOME=/root LANG=C.UTF-8 PAGER=cat
Restart=always
[Install]
WantedBy=multi-user.target
UNIT
systemctl enable test-shell.service >/dev/null 2>&1
EOF

# shellcheck disable=SC2016 # $1 is for mmdebstrap's shell: the root that it builds
mmdebstrap --quiet --variant=minbase --include="$packages" \
    --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/doc/*' --aptopt='Acquire::Languages "none"' \
    --customize-hook="copy-in $work/inside /tmp" --customize-hook='chroot "$1" sh /tmp/inside' --customize-hook='rm "$1/tmp/inside"' \
    bookworm "$root"

# The exclusions were for a small image; a package that is tested is installed whole.
rm -f "$root"/etc/dpkg/dpkg.cfg.d/*mmdebstrap*
cp -L "$root/vmlinuz" "$work/vmlinuz"
cp -L "$root/initrd.img" "$work/initrd.img"
truncate -s 2G "$work/disk.ext4"
/sbin/mke2fs -q -t ext4 -d "$root" -E lazy_itable_init=0 "$work/disk.ext4"
mv "$work/vmlinuz" "$work/initrd.img" "$work/disk.ext4" "$out/"
