#!/bin/bash
# layer.sh LOWER[:LOWER…] OUT BIND COMMAND… : run COMMAND in a chroot over the layers, with the folder BIND at
# /srv/archive and no network, and keep what it changed as the layer OUT.
set -eu
lower=$1 out=$2 bind=$3; shift 3
rm -rf "$out.partial"
scratch=$(mktemp -d); trap 'rm -rf "$scratch" "$out.partial"' EXIT
export lower out bind scratch
# The changes are made on a tmpfs and copied out: an overlay cannot have its upper layer on another overlay,
# which is what a cache folder inside a container would be.
unshare --mount --pid --fork --kill-child=KILL --net --propagation private bash -eu -c '
  mount -t tmpfs -o mode=755 layer "$scratch"; mkdir "$scratch/upper" "$scratch/work" "$scratch/root"; root=$scratch/root
  mount -t overlay overlay -o "lowerdir=$lower,upperdir=$scratch/upper,workdir=$scratch/work" "$root"
  mount -t proc proc "$root/proc"; mount --rbind /dev "$root/dev"; mount -t tmpfs tmpfs "$root/run"
  mkdir -p "$root/srv/archive"; mount --bind "$bind" "$root/srv/archive"
  chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive LC_ALL=C "$@"
  umount "$root/srv/archive"; rmdir "$root/srv/archive"
  cp -a "$scratch/upper" "$out.partial"' layer "$@"
mv "$out.partial" "$out"
