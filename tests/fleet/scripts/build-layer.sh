#!/bin/bash
# build-layer.sh LOWER[:LOWER…] OUT SOURCES NAME PACKAGE… : the layer OUT that has Debian packages from the mirror
# installed over the layers LOWER, and in which layers/NAME.sh ran afterwards; that finds inside/ at /srv/archive/inside.
set -eu
here=$(dirname "$(readlink -f "$0")") lower=$1 out=$2 sources=$3 name=$4; shift 4
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
IFS=: read -ra layers <<<"$lower"
for layer in "${layers[@]}"; do status=$layer/var/lib/dpkg/status; [ ! -e "$status" ] || break; done
"$here/download.sh" "$work" "$status" "$sources" "$@"
cp -r "$here/inside" "$here/layers/$name.sh" "$work/"
chmod -R a+rX "$work"
"$here/layer.sh" "$lower" "$out" "$work" sh -euc '
  printf "#!/bin/sh\nexit 101\n" >/usr/sbin/policy-rc.d; chmod 755 /usr/sbin/policy-rc.d
  set -- /srv/archive/*.deb
  [ ! -e "$1" ] || apt-get install -y -qq --no-install-recommends "$@"
  rm -rf /usr/sbin/policy-rc.d /var/lib/apt/lists/* /var/log/apt/* /var/log/dpkg.log
  . /srv/archive/'"$name"'.sh'
