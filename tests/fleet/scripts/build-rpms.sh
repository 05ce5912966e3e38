#!/bin/bash
# build-rpms.sh : the RPM repositories /srv/archive/v1, v2 and v3; runs in a chroot that has rpmbuild and createrepo_c.
# Each set also has the packages of all sets before it.  build-rpm-repositories.sh signs them.
set -eu
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
specs=$work/specs; mkdir -p "$specs"

# package NAME VERSION-RELEASE [TAGS] : add a package to the spec of the set, with $pre and $post as its scriptlets,
# $files as its further lines of %files and $install to make them.  Each %post first notes that it ran, so that a test
# can count transactions.
package() {
  local name=$1 version=$2 tags=${3:-} folder=/usr/share/$1
  printf '%%package -n %s\nVersion: %s\nRelease: %s\nSummary: A package to test updates with\n%b\n%%description -n %s\n\n' \
    "$name" "${version%-*}" "${version#*-}" "$tags" "$name" >>"$specs/$set.packages"
  printf 'mkdir -p %%{buildroot}%s; echo >%%{buildroot}%s/%s\n%b\n' "$folder" "$folder" "$version" "$install" >>"$specs/$set.install"
  [ -z "$pre" ] || printf '%%pre -n %s\n%b\n' "$name" "$pre" >>"$specs/$set.files"
  printf '%%post -n %s\necho "%s %s" >>/var/log/tb-transactions\n%b\n' "$name" "$name" "$version" "$post" >>"$specs/$set.files"
  printf '%%files -n %s\n%s/%s\n%b\n' "$name" "$folder" "$version" "$files" >>"$specs/$set.files"
  pre='' post='' install='' files=''
}

# The packages of a set are built from one spec, for rpmbuild takes its time to start.
build() {
  { printf 'Name: fleet\nVersion: 1\nRelease: 1\nSummary: The packages of a set\nLicense: MIT\nBuildArch: noarch\n%%description\n\n'
    cat "$specs/$set.packages"; echo %install; cat "$specs/$set.install" "$specs/$set.files"; } >"$specs/$set.spec"
  rpmbuild -bb --quiet --define "_topdir $work/build" --define '_binary_payload w1.gzdio' --define "_rpmdir $work/$set" --define '_buildhost fleet' --define '__os_install_post %{nil}' \
    --define '_rpmfilename %%{NAME}-%%{VERSION}-%%{RELEASE}.noarch.rpm' "$specs/$set.spec"
}

# advisory ID TYPE SEVERITY NAME VERSION-RELEASE [CVE…] : an update element of updateinfo.xml.
advisory() {
  local id=$1 type=$2 severity=$3 name=$4 version=$5 cve; shift 5
  echo "<update from=\"fleet@example.invalid\" status=\"stable\" type=\"$type\" version=\"2.0\"><id>$id</id><title>$name-$version</title>"
  echo "<severity>$severity</severity><issued date=\"2024-07-0$number 00:00:00\"/><updated date=\"2024-07-0$number 00:00:00\"/>"
  echo "<description>A new version of $name.</description><references>"
  for cve; do echo "<reference href=\"https://example.invalid/$cve\" id=\"$cve\" title=\"$cve\" type=\"cve\"/>"; done
  echo "</references><pkglist><collection short=\"fleet\"><name>fleet</name><package name=\"$name\" version=\"${version%-*}\""
  echo "release=\"${version#*-}\" epoch=\"0\" arch=\"noarch\" src=\"$name-$version.src.rpm\">"
  echo "<filename>$name-$version.noarch.rpm</filename></package></collection></pkglist></update>"
}

# updateinfo SET-NUMBER : what was announced up to this set.
updateinfo() {
  local number
  echo '<?xml version="1.0" encoding="UTF-8"?><updates>'
  for number in $(seq 2 "$1"); do
    advisory "FLEET-2024-${number}001" security Important tb-secure "1.0-$number" "CVE-2024-${number}0001" "CVE-2024-${number}0002"
    advisory "FLEET-2024-${number}002" bugfix None tb-simple "$number.0-1"
  done
  echo '</updates>'
}

slow='touch /run/tb-slow-running\nsleep "$(cat /etc/tb-slow-seconds 2>/dev/null || echo 0)"\nrm -f /run/tb-slow-running'
# dnf keeps several versions of what provides the one name, zypper of what provides the other.
several='Provides: installonlypkg(kernel)\nProvides: multiversion(kernel)'
# What zypper takes for a package that wants a reboot; dnf knows such packages by their names.
restart='Provides: installhint(reboot-needed)'
kernels=(6.8.5-301 6.9.7-200 6.10.3-200) firmwares=(20240410-1 20240709-1 20240811-1)

pre='' post='' install='' files=''
for number in 1 2 3; do
  set=v$number version=$number.0-1
  package tb-simple $version
  package tb-held $version
  package tb-secure 1.0-$number
  post=$slow; package tb-slow $version
  install="mkdir -p %{buildroot}/etc; printf '# shipped with $version\\\\nmode=$set\\\\n' >%{buildroot}/etc/tb-conf.conf"
  files='%config(noreplace) /etc/tb-conf.conf'; package tb-conf $version
  if [ $number = 1 ]; then
    package tb-newdep $version
    package tb-badpost $version
    package tb-badpre $version
    # dnf takes the release of the system from what provides this; and every scriptlet needs a shell.
    package fleet-release 40-1 'Provides: system-release = 40\nProvides: system-release(releasever) = 40\nProvides: /bin/sh'
  else
    package tb-extra $version; package tb-newdep $version 'Requires: tb-extra'
    post='echo "tb-badpost: cannot migrate database" >&2\nexit 1'; package tb-badpost $version
    pre='echo "tb-badpre: not on this host" >&2\nexit 1'; package tb-badpre $version
  fi
  kernel=${kernels[number - 1]}
  package kernel-core $kernel "$several\n$restart"
  package kernel $kernel "$several\nRequires: kernel-core = $kernel"
  package linux-firmware "${firmwares[number - 1]}" "$restart"
  build
  mkdir -p "/srv/archive/$set"
  for earlier in $(seq $number); do cp "$work/v$earlier"/*.rpm "/srv/archive/$set/"; done
  createrepo_c --quiet --no-database "/srv/archive/$set"
  updateinfo $number >"$work/updateinfo.xml"
  modifyrepo_c "$work/updateinfo.xml" "/srv/archive/$set/repodata" >/dev/null
done
