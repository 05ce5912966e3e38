# zypper.sh PACKAGE… : install the first versions from the RPM repositories at /srv/archive; runs in a chroot.
rpm --import /srv/archive/archive-key.asc
zypper="zypper --non-interactive --quiet"
$zypper addrepo --no-gpgcheck file:///srv/archive/v1 first
$zypper install fleet-release "$@"
case " $* " in *" tb-held "*) $zypper addlock tb-held;; esac
$zypper removerepo first
rm -rf /var/cache/zypp/* /var/log/tb-transactions /var/log/zypp* /var/log/zypper.log
# A host of this family has no Debian tools that somebody could take it by.
rm -f /usr/bin/apt /usr/bin/apt-* /usr/bin/dpkg /usr/bin/dpkg-* /etc/debian_version
