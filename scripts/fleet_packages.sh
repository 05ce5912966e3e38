#!/bin/sh
# Installs the Debian packages that the fleet of real hosts needs, after saying so; where it cannot
# run (without root, not on Debian or Ubuntu, FLEET=simulated) it says that simulated hosts will do.
set -eu
cd "$(dirname "$0")/.."

simulated() {
    echo "No fleet of real hosts: $1. Simulated hosts are used, and what needs real ones is skipped."
    exit
}

[ "${FLEET:-}" != simulated ] || simulated "FLEET=simulated"
[ "$(id -u)" -eq 0 ] || simulated "it needs root"
command -v apt-get >/dev/null || simulated "it needs Debian or Ubuntu"
echo "Installing the Debian packages that the fleet of real hosts needs (FLEET=simulated does without)"
.venv/bin/python -m tests.fleet install
# For the faults that move the server's clock.
ls /usr/lib/*/faketime/libfaketimeMT.so.1 >/dev/null 2>&1 ||
    DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends libfaketime
# Here and not in the first test that needs it: the base takes about half a minute, once.
exec .venv/bin/python -m tests.fleet build
