#!/bin/bash
# link.sh PORT HOW NETNS : put the link of a host into a state; runs in the lab's network namespace.
# PORT is the lab's end, NETNS a path to the network namespace of the host.
#   up     all is well
#   down   unplugged: the host sees no carrier
#   drop   a silent hole: the carrier is there, every frame is lost in both directions
#   reset  every SSH connection, old or new, is answered with a TCP reset
set -e
inside() { nsenter --net="$netns" "$@"; }
port=$1 how=$2 netns=$3
if [ "$how" = reset ]; then
  inside iptables -I INPUT -p tcp --dport 22 -j REJECT --reject-with tcp-reset
else
  inside iptables -D INPUT -p tcp --dport 22 -j REJECT --reject-with tcp-reset 2>/dev/null || true
fi
if [ "$how" = drop ]; then ip link set "$port" nomaster; else ip link set "$port" master br0; fi
if [ "$how" = down ]; then ip link set "$port" down; else ip link set "$port" up; fi
if [ "$how" = up ]; then    # an interface that lost its carrier keeps its address, but may have lost its routes
  inside ip route replace default via "$FLEET_GATEWAY" 2>/dev/null || true
fi
