#!/bin/bash
# download.sh OUT STATUS SOURCES PACKAGE… : put into OUT the .deb files of Debian packages, and of all they need
# beside what the dpkg status file STATUS says is installed.  SOURCES is the folder with the sources.list and
# sources.list.d of the mirror that the base came from.
# As mmdebstrap does, it uses this machine's apt, with this machine's way to the mirror: a layer is built without network.
set -eu
out=$1 status=$2 sources=$3; shift 3
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
mkdir -p "$out" "$work"/etc/apt/{apt.conf.d,preferences.d} "$work"/var/lib/apt/lists/partial "$work"/var/cache/apt/archives/partial "$work/var/lib/dpkg"
cp "$status" "$work/var/lib/dpkg/status"    # apt locks the folder that it reads this from
cp -r "$sources/." "$work/etc/apt/"
eval "$(apt-config shell trusted Dir::Etc::trusted/f parts Dir::Etc::trustedparts/d)"
cat >"$work/apt.conf" <<EOF
Dir "$work";
Dir::State::status "$work/var/lib/dpkg/status";
Dir::Etc::Trusted "$trusted";
Dir::Etc::TrustedParts "$parts";
APT::Architecture "$(dpkg --print-architecture)";
APT::Install-Recommends false;
Acquire::Languages none;
EOF
export APT_CONFIG=$work/apt.conf
apt-get update -qq -o APT::Update::Error-Mode=any
apt-get install -qq -y --download-only "$@"
find "$work/var/cache/apt/archives" -name '*.deb' -exec cp -t "$out" {} +    # none when all of it is there already
