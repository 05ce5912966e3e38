#!/bin/bash
# build-archive.sh OUT CODENAME : one APT archive per version set, signed with a key made for the occasion.
#   OUT/v1, OUT/v2, OUT/v3   each has the suites CODENAME and CODENAME-security, and all sets before it
#   OUT/broken               like v2, but its index does not match its signature
#   OUT/untrusted            like v2, but its index is signed with a key that no host trusts
#   OUT/archive-key.asc      the public key
set -eu
out=$1 codename=$2
work=$(mktemp -d); export GNUPGHOME=$work/gnupg
trap 'gpgconf --kill gpg-agent 2>/dev/null; rm -rf "$work"' EXIT
debs=$work/debs tree=$work/tree
architecture=$(dpkg --print-architecture)

# package SUITE NAME VERSION [CONTROL-LINES] : put $tree into a package.  Each post-install first notes that it ran,
# so that a test can count transactions, then does what is in $postinst.
package() {
  local suite=$1 name=$2 version=$3 fields=${4:-}
  mkdir -p "$tree/DEBIAN" "$tree/usr/share/$name" "$debs/$set/$suite"
  echo "$version" >"$tree/usr/share/$name/version"
  { printf 'Package: %s\nVersion: %s\nArchitecture: all\nMaintainer: Fleet <fleet@example.invalid>\n' "$name" "$version"
    printf 'Section: misc\nPriority: optional\n'; [ -z "$fields" ] || printf '%b\n' "$fields"
    printf 'Description: a package to test updates with\n'; } >"$tree/DEBIAN/control"
  printf '#!/bin/sh\n[ "$1" = configure ] || exit 0\necho "%s %s" >>/var/log/tb-transactions\n%s\n' "$name" "$version" "$postinst" >"$tree/DEBIAN/postinst"
  chmod 755 "$tree/DEBIAN/postinst"
  dpkg-deb --root-owner-group -Zgzip -z1 --build "$tree" "$debs/$set/$suite/${name}_${version}_all.deb" >/dev/null
  rm -rf "$tree"; postinst=
}

slow='touch /run/tb-slow-running\nsleep "$(cat /etc/tb-slow-seconds 2>/dev/null || echo 0)"\nrm -f /run/tb-slow-running'
failing='[ -e /etc/tb-failing-ok ] || { [ ! -x /etc/tb-failing-runs ] || /etc/tb-failing-runs; echo "tb-failing: cannot migrate database" >&2; exit 1; }'
kernel='echo "*** System restart required ***" >/run/reboot-required\ngrep -qx tb-kernel /run/reboot-required.pkgs 2>/dev/null || echo tb-kernel >>/run/reboot-required.pkgs'

postinst=
for number in 1 2 3; do
  set=v$number version=$number.0-1
  package "$codename" tb-simple $version
  package "$codename" tb-held $version
  postinst=$(printf "$slow"); package "$codename" tb-slow $version
  mkdir -p "$tree/DEBIAN" "$tree/etc"; printf '# shipped with %s\nmode=%s\n' $version $set >"$tree/etc/tb-conf.conf"
  echo /etc/tb-conf.conf >"$tree/DEBIAN/conffiles"; package "$codename" tb-conf $version
  if [ $number = 1 ]; then
    package "$codename" tb-failing $version
    package "$codename" tb-kernel $version
    package "$codename" tb-olddep 1.0-1; package "$codename" tb-newdep $version 'Depends: tb-olddep'
    package "$codename" tb-legacy 1.0-1; package "$codename" tb-conflict $version 'Depends: tb-legacy'
    package "$codename" tb-secure 1.0-1
    package "$codename" tb-phased $version
  else
    postinst=$failing; package "$codename" tb-failing $version
    postinst=$(printf "$kernel"); package "$codename" tb-kernel $version
    package "$codename" tb-extra $version; package "$codename" tb-newdep $version 'Depends: tb-extra'     # kept back without --with-new-pkgs
    package "$codename" tb-conflict $version 'Conflicts: tb-legacy'                                    # kept back unless removals are allowed
    package "$codename-security" tb-secure 1.0-1+deb12u$((number - 1))
    package "$codename" tb-phased $version 'Phased-Update-Percentage: 0'
  fi
done

mkdir -m 700 "$GNUPGHOME"
for owner in fleet stranger; do
  gpg --batch --quiet --pinentry-mode loopback --passphrase '' --quick-generate-key "<$owner@example.invalid>" ed25519 sign never 2>"$work/gpg.log" || { cat "$work/gpg.log" >&2; exit 1; }
done

# suite DIR NAME SUITE LABEL DATE : index one suite of an archive and sign it.
suite() {
  local top=$1/dists/$2 option=()
  mkdir -p "$top/main/binary-$architecture" "$1/pool/$2"
  (cd "$1"; apt-ftparchive packages "pool/$2") >"$top/main/binary-$architecture/Packages"
  gzip -kn1 "$top/main/binary-$architecture/Packages"
  for field in Origin=Debian "Label=$4" "Suite=$3" "Codename=$2" Components=main "Architectures=$architecture"; do option+=(-o "APT::FTPArchive::Release::$field"); done
  apt-ftparchive "${option[@]}" release "$top" | sed "s/^Date: .*/Date: $5/" >"$work/Release"; mv "$work/Release" "$top/Release"
  sign "$top" fleet
}

sign() { gpg --batch --quiet --yes --local-user "=<$2@example.invalid>" --clearsign -o "$1/InRelease" "$1/Release"; }

for number in 1 2 3; do
  archive=$out/v$number
  for earlier in $(seq $number); do mkdir -p "$archive/pool"; cp -r "$debs/v$earlier/." "$archive/pool/"; done
  # apt keeps what it has when a Release file looks older, so each set must be younger than the one before.
  date=$(LC_ALL=C date -u -d "-$((5 - number)) hours" '+%a, %d %b %Y %H:%M:%S UTC')
  suite "$archive" "$codename" stable Debian "$date"
  suite "$archive" "$codename-security" stable-security Debian-Security "$date"
done
for set in broken untrusted; do cp -r "$out/v2" "$out/$set"; done
for index in "$out"/broken/dists/*/main/binary-*/Packages; do echo "X-Tampered: yes" >>"$index"; gzip -kfn1 "$index"; done
for suite in "$out"/untrusted/dists/*; do sign "$suite" stranger; done
gpg --batch --armor --export '=<fleet@example.invalid>' >"$out/archive-key.asc"
chmod -R a+rX "$out"
