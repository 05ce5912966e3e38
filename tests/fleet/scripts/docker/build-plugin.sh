#!/bin/bash
# build-plugin.sh LOWER OUT SOURCES : the layer OUT with the second version of docker compose, which is a plugin.
# Debian has it since trixie, beside a docker that bookworm cannot install; the plugin alone runs with bookworm's.
set -eu
here=$(dirname "$(readlink -f "$0")") lower=$1 out=$2 sources=$3
work=$(mktemp -d); trap 'rm -rf "$work" "$out.partial"' EXIT
chmod 755 "$work"
cp -r "$sources" "$work/sources"
find "$work/sources" -type f -exec sed -i '/security\|updates/!s/bookworm/trixie/g' {} +
"$here/../download.sh" "$work/debs" "$lower/var/lib/dpkg/status" "$work/sources" docker-compose
dpkg-deb -x "$work"/debs/docker-compose_*.deb "$work/docker-compose"
plugin=usr/libexec/docker/cli-plugins/docker-compose
install -Dm755 "$work/docker-compose/$plugin" "$out.partial/$plugin"
mv "$out.partial" "$out"
