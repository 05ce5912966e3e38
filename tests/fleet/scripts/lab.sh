#!/bin/bash
# lab.sh : pid 1 of the lab, the namespaces that hold a fleet's bridge, its package archive and its hosts.
# It lives as long as somebody holds the other end of its standard input: a runner that ends in any way, SIGKILL
# included, closes that pipe, pid 1 ends, and the kernel takes every process, mount, link and rule of the lab with it.
# Needs FLEET_STATE, FLEET_GATEWAY, FLEET_PREFIX (length of the network), FLEET_PYTHON.
set -eu
here=$(dirname "$(readlink -f "$0")")
hostname fleet-lab
ip link set lo up
# A pinned MAC: otherwise the bridge takes another one whenever a port joins, and the neighbours' caches go stale.
ip link add br0 address "$(printf '02:01:%02x:%02x:%02x:%02x' ${FLEET_GATEWAY//./ })" type bridge
ip addr add "$FLEET_GATEWAY/$FLEET_PREFIX" dev br0
ip link set br0 up
mkdir -p "$FLEET_STATE/disks"
mount -t tmpfs -o mode=755 fleet "$FLEET_STATE/disks"    # the disks of the hosts vanish with this mount namespace
"$FLEET_PYTHON" -I "$here/archive_server.py" "$FLEET_GATEWAY" "$FLEET_STATE/archive" >>"$FLEET_STATE/logs/archive.log" 2>&1 &
echo ready
cat >/dev/null    # not exec: this shell must stay pid 1 and reap
