#!/bin/bash
# boot.sh NAME : pid 1 of a host, until it execs the host's own init.  File descriptor 9 is the lab's network namespace.
set -e
dir=$FLEET_STATE/hosts/$1 disk=$FLEET_STATE/disks/$1 root=$FLEET_STATE/disks/$1/root
init=$(cat "$dir/init") address=$(cat "$dir/address") port=$(cat "$dir/port") link=$(cat "$dir/knobs/link" 2>/dev/null || echo up)
if [ "$init" = systemd ] && [ -z "${IN_CGROUP:-}" ]; then    # systemd wants a cgroup tree of its own; version 2, no controllers needed
  tree=/sys/fs/cgroup/unified; [ -d $tree ] || tree=/sys/fs/cgroup
  mkdir -p "$tree/$FLEET_CGROUP/$1"; echo 0 >"$tree/$FLEET_CGROUP/$1/cgroup.procs"
  IN_CGROUP=1 exec unshare --cgroup "$0" "$@"
fi

mount -t overlay overlay -o "lowerdir=$(cat "$dir/layers"),upperdir=$disk/upper,workdir=$disk/work" "$root"
[ ! -d "$disk/docker" ] || { mkdir -p "$root/var/lib/docker"; mount --bind "$disk/docker" "$root/var/lib/docker"; }
mount -t proc proc "$root/proc"
stat "$root/proc/1" >/dev/null    # its time is that of the first look at it, and dnf needs-restarting takes it for that of the boot
mount -t sysfs -o ro sysfs "$root/sys"
mount -t tmpfs -o mode=755,size=64m tmpfs "$root/run"
mount -t tmpfs -o mode=755,size=1m tmpfs "$root/dev"
for device in null zero full random urandom tty; do : >"$root/dev/$device"; mount --bind /dev/$device "$root/dev/$device"; done
mkdir -p "$root/dev/pts" "$root/dev/shm" "$root/run/sshd"
mkdir -p -m 1777 "$root/run/lock"
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"; ln -s /proc/self/fd "$root/dev/fd"
ln -s fd/0 "$root/dev/stdin"; ln -s fd/1 "$root/dev/stdout"; ln -s fd/2 "$root/dev/stderr"
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
cp "$dir/boot_id" "$root/run/.boot_id"; mount --bind -o ro "$root/run/.boot_id" "$root/proc/sys/kernel/random/boot_id"
if [ "$init" = systemd ]; then
  mount -t cgroup2 -o rw,nsdelegate cgroup2 "$root/sys/fs/cgroup"
  : >"$root/dev/console"; mount --bind "$FLEET_STATE/logs/$1.console" "$root/dev/console"
  if [ "$NEXT_BOOT" = no-sshd ]; then mkdir -p "$root/run/systemd/system"; ln -s /dev/null "$root/run/systemd/system/ssh.service"; fi
fi

hostname "$1"
ip link set lo up
mac=$(cat "$dir/mac")    # the same at every boot, like a real card: nobody waits for a stale ARP entry
if [ -e "$dir/knobs/wire" ]; then
  exec 8</proc/self/ns/net
  nsenter --net=/proc/self/fd/9 ip link set "e$port" netns /proc/self/fd/8
  exec 8<&-
  ip link set "e$port" name eth0 address "$mac"
else
  ip link add eth0 address "$mac" type veth peer name "v$port" netns /proc/self/fd/9
fi
ip addr add "$address/$FLEET_PREFIX" dev eth0
exec 8</proc/self/ns/net
nsenter --net=/proc/self/fd/9 "$(dirname "$(readlink -f "$0")")/link.sh" "v$port" "$link" /proc/self/fd/8
exec 8<&-
ip link set eth0 up
[ "$link" = down ] || ip route add default via "$FLEET_GATEWAY" || true
exec 9<&-

cd "$root"
pivot_root . mnt
umount -l /mnt
case $init in
  systemd) exec env -i container=fleet PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    chroot / /lib/systemd/systemd --log-target=console --show-status=false </dev/null;;
  *) exec env -i NEXT_BOOT="$NEXT_BOOT" PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin chroot / /usr/sbin/tinyinit </dev/null;;
esac
