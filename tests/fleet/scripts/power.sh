#!/bin/bash
# power.sh NAME : the power supply of one host.  It boots the host, and when the host's pid 1 ends by the kernel's own
# reboot(2) signal (SIGHUP to restart, SIGINT to power off) acts like the machine would.  Runs in the lab.
# knobs/down_for   seconds dark between two boots (default 0), read at each reboot
# knobs/next_boot  never | same-boot-id | no-sshd: used for one boot, then removed
# knobs/wire       present: the host hangs on a userspace cable (cable.py) instead of a veth pair
set -u
here=$(dirname "$(readlink -f "$0")")
dir=$FLEET_STATE/hosts/$1 knobs=$FLEET_STATE/hosts/$1/knobs
port=$(cat "$dir/port") cable=
boot_id=$(cat "$dir/boot_id" 2>/dev/null || cat /proc/sys/kernel/random/uuid)
while :; do
  how=$(cat "$knobs/next_boot" 2>/dev/null); rm -f "$knobs/next_boot"
  [ "$how" != never ] || { echo "power: told never to come back"; exit 0; }
  [ "$how" = same-boot-id ] || boot_id=$(cat /proc/sys/kernel/random/uuid)
  echo "$boot_id" >"$dir/boot_id"
  [ -z "$cable" ] || { kill "$cable"; wait "$cable"; } 2>/dev/null
  # The kernel clears a dead network namespace at its leisure; until then the old link holds the name of the new one.
  ip link del "v$port" 2>/dev/null
  if [ -e "$knobs/wire" ]; then
    coproc CABLE { exec "$FLEET_PYTHON" -I "$here/cable.py" "v$port" "e$port" "$knobs/wire"; }
    cable=$CABLE_PID; read -r -u "${CABLE[0]}" _
  fi
  boots=$(( $(cat "$dir/boots" 2>/dev/null || echo 0) + 1 ))
  echo "$boots" >"$dir/boots.new"; mv "$dir/boots.new" "$dir/boots"
  exec 9</proc/self/ns/net
  # --boottime turns the clock of the host back to zero: its uptime begins now.
  NEXT_BOOT=$how unshare --fork --kill-child=KILL --pid --mount --uts --ipc --net --time \
    --boottime=-"$(cut -d. -f1 /proc/uptime)" --propagation private "$here/boot.sh" "$1" 9<&9
  rc=$?
  exec 9<&-
  echo "power: boot $boots ended with status $rc"
  case $rc in
    129) sleep "$(cat "$knobs/down_for" 2>/dev/null || echo 0)";;
    130) exit 0;;
    *) exit $rc;;       # crashed or cut: stays down until somebody presses the button
  esac
done
