#!/bin/bash
# build-base.sh OUT CODENAME : everything hosts are made of: OUT/debian (a Debian CODENAME with sshd, sudo and systemd),
# OUT/tiny (the layer that boots it without systemd), OUT/archive (the version sets of the tb-* packages) and
# OUT/mirror (the sources.list files that lead to the mirror, for layers that are built later).
# The mirror is the one this machine's own apt uses, or mmdebstrap's default where that one has no CODENAME.
set -eu
here=$(dirname "$(readlink -f "$0")") out=$1.partial codename=$2
rm -rf "$out"
mkdir -p "$out"
"$here/build-archive.sh" "$out/archive" "$codename"
mkdir "$out/mirror"
export FLEET_ARCHIVE_KEY=$out/archive/archive-key.asc FLEET_MIRROR=$out/mirror
mmdebstrap --quiet --mode=root --variant=minbase \
  --include=openssh-server,sudo,procps,iproute2,systemd,systemd-sysv,dbus,libpam-systemd,needrestart \
  --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
  --customize-hook="$here/customize.sh" "$codename" "$out/debian"
mkdir -p "$out/tiny/usr/local/sbin" "$out/tiny/usr/sbin"
install -m755 "$here/inside/tinyinit" "$out/tiny/usr/sbin/"
for name in reboot poweroff halt shutdown systemctl; do install -m755 "$here/inside/reboot" "$out/tiny/usr/local/sbin/$name"; done
mv "$out" "$1"
