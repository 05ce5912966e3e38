#!/bin/sh
# Installs what the tests and the demo need of the machine, after saying so: programs such as busybox, and
# for the fleet of real hosts its Debian packages and its base, for the database cluster its programs. Where it
# cannot (without root, not on Debian or Ubuntu) it says what is skipped; FLEET=simulated does without both.
set -eu
cd "$(dirname "$0")/.."

say() {
    echo "$1. What needs it is skipped, and simulated hosts are used."
}

if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    say "No fleet of real hosts: it needs root on Debian or Ubuntu"
elif [ "${FLEET:-}" = simulated ]; then
    say "No fleet of real hosts: FLEET=simulated"
    .venv/bin/python -m tests.tools install
else
    echo "Installing the Debian packages that the fleet of real hosts and the database cluster need (FLEET=simulated does without)"
    .venv/bin/python -m tests.tools install
    # Here and not in the first test that needs it: the base takes about half a minute, once.
    .venv/bin/python -m tests.fleet build
fi
