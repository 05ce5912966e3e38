#!/bin/bash
# customize.sh ROOT : turns a fresh Debian into what every host has in common.  mmdebstrap runs it.
set -eu
root=$1
rm -f "$root"/etc/ssh/ssh_host_* "$root/etc/hostname"
: >"$root/etc/machine-id"
# Only the lab's archive: the hosts have no way out, and a test must not depend on the mirror of the day.
cp -r "$root"/etc/apt/sources.list* "$FLEET_MIRROR/"
rm -rf "$root/etc/apt/sources.list" "$root"/etc/apt/sources.list.d/*
install -Dm644 "$FLEET_ARCHIVE_KEY" "$root/etc/apt/keyrings/fleet.asc"

chroot "$root" useradd --uid 1000 --create-home --shell /bin/bash ops
chroot "$root" useradd --uid 1001 --create-home --shell /bin/bash --groups sudo nosudo
echo nosudo:nosudo | chroot "$root" chpasswd
echo 'ops ALL=(ALL:ALL) NOPASSWD: ALL' >"$root/etc/sudoers.d/ops"; chmod 440 "$root/etc/sudoers.d/ops"
for home in root home/ops home/nosudo; do mkdir -p -m 700 "$root/$home/.ssh"; done
chown 1000:1000 "$root/home/ops/.ssh"; chown 1001:1001 "$root/home/nosudo/.ssh"

# What needs a kernel of its own, or would change packages behind a test's back, stays off.
chroot "$root" systemctl mask systemd-udevd.service systemd-modules-load.service systemd-networkd-wait-online.service \
  systemd-timesyncd.service sys-kernel-debug.mount sys-kernel-tracing.mount getty.target console-getty.service apt-daily.timer apt-daily-upgrade.timer \
  e2scrub_all.timer fstrim.timer dpkg-db-backup.timer
chroot "$root" systemctl set-default multi-user.target
chroot "$root" systemctl enable ssh.service
