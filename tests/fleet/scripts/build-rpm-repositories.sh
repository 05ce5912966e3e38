#!/bin/bash
# build-rpm-repositories.sh LOWER[:LOWER…] OUT : one RPM repository per version set, built in a chroot over the layers
# LOWER; its index is signed with a key made for the occasion, its packages are not.
#   OUT/v1, OUT/v2, OUT/v3   see build-rpms.sh
#   OUT/broken               like v2, but the index does not match its signature, nor the lists of packages the index
#   OUT/untrusted            like v2, but the index is signed with a key that no host trusts
#   OUT/archive-key.asc      the public key
#   OUT/pubring              the key as dnf keeps it for a repository that was accepted once
set -eu
here=$(dirname "$(readlink -f "$0")") lower=$1 out=$2
work=$(mktemp -d); export GNUPGHOME=$work/gnupg
trap 'gpgconf --kill gpg-agent 2>/dev/null; rm -rf "$work"' EXIT
partial=$out.partial; rm -rf "$partial"; mkdir -p "$partial"
"$here/layer.sh" "$lower" "$work/layer" "$partial" bash -euc "$(cat "$here/build-rpms.sh")"

mkdir -m 700 "$GNUPGHOME"
key() { gpg --batch --quiet --pinentry-mode loopback --passphrase '' --quick-generate-key "<$1@example.invalid>" rsa3072 sign never 2>"$work/gpg.log" || { cat "$work/gpg.log" >&2; exit 1; }; }
key fleet; key stranger
sign() { gpg --batch --quiet --yes --local-user "=<$2@example.invalid>" --armor --detach-sign "$1/repodata/repomd.xml"; }

for set in v1 v2 v3; do sign "$partial/$set" fleet; done
for set in broken untrusted; do cp -r "$partial/v2" "$partial/$set"; done
for list in "$partial"/broken/repodata/*-primary.xml.*; do echo tampered >>"$list"; done
echo '<!-- tampered -->' >>"$partial/broken/repodata/repomd.xml"
sign "$partial/untrusted" stranger
gpg --batch --armor --export '=<fleet@example.invalid>' >"$partial/archive-key.asc"
mkdir -m 700 "$partial/pubring"
gpg --batch --quiet --no-autostart --homedir "$partial/pubring" --import "$partial/archive-key.asc"
chmod -R a+rX "$partial"
mv "$partial" "$out"
