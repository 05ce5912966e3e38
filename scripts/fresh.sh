#!/bin/bash
# fresh.sh [SUITE …]: the README's commands on a bare machine. Makes the root of a Debian (bookworm and trixie, or
# those named) with git, make and python3 and nothing else, clones this checkout into it, and runs `make demo` and
# `make test` there, as root, in namespaces of its own. Uncommitted changes are left out, as by any clone.
# TARGETS: other targets of make. FLEET and PYTEST_ARGS have their meaning. Needs root and mmdebstrap.
# Lent to the root is what says how this machine reaches package registries, and /run/tendhost-fleet, where
# fleets agree on who has which network.
set -euo pipefail
cd "$(dirname "$0")/.."
checkout=$PWD
targets=${TARGETS:-demo test}
suites=("$@")
((${#suites[@]})) || suites=(bookworm trixie)

if [ "$(id -u)" -ne 0 ]; then
    echo "make fresh needs root: it makes the root of a Debian and namespaces" >&2
    exit 1
fi
if ! command -v mmdebstrap >/dev/null; then
    echo "Installing the Debian package mmdebstrap"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends mmdebstrap
fi

work=$(mktemp -d)
trap 'rm -rf --one-file-system "$work"' EXIT
mkdir -p /run/tendhost-fleet

# In namespaces of its own, with $1 as its root: the kernel ends all of it with the caller.
enter='
set -eu
root=$1; shift
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount --rbind /sys "$root/sys"
mount --rbind /dev "$root/dev"
mount -t tmpfs -o mode=755 run "$root/run"
mkdir "$root/run/tendhost-fleet" "$root/run/old"
mount --bind /run/tendhost-fleet "$root/run/tendhost-fleet"
for lent in /etc/resolv.conf /etc/hosts /etc/pip.conf; do
    [ ! -e "$lent" ] || cp -L "$lent" "$root$lent"
done
cd "$root"
pivot_root . run/old
umount -l /run/old
rmdir /run/old
cd /root/tendhost
exec "$@"
'

# The certificates beside those of the root's own, which installing ca-certificates would make anew.
certificates=${PIP_CERT:-${SSL_CERT_FILE:-}}
lent=()
for name in http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY PIP_INDEX_URL; do
    [ -z "${!name:-}" ] || lent+=("$name=${!name}")
done
[ -z "$certificates" ] || lent+=(PIP_CERT=/etc/lent.crt SSL_CERT_FILE=/etc/lent.crt)

for suite in "${suites[@]}"; do
    root=$work/$suite
    echo "== a bare Debian $suite"
    mmdebstrap --quiet --mode=root --variant=minbase --include=git,make,python3 "$suite" "$root"
    [ -z "$certificates" ] || cp -L "$certificates" "$root/etc/lent.crt"
    git clone -q --no-hardlinks "$checkout" "$root/root/tendhost"
    for target in $targets; do
        echo "== make $target on a bare Debian $suite"
        unshare --mount --propagation private --pid --fork --kill-child=KILL --uts --ipc \
            /bin/sh -c "$enter" enter "$root" \
            env -i HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin TERM="${TERM:-dumb}" \
            ${lent[@]+"${lent[@]}"} ${FLEET:+FLEET="$FLEET"} \
            make "$target" ${PYTEST_ARGS:+PYTEST_ARGS="$PYTEST_ARGS"} </dev/null
    done
    rm -rf --one-file-system "$root"
done
echo "== the README's commands work on a bare Debian: ${suites[*]}"
