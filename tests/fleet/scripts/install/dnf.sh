# dnf.sh PACKAGE… : install the first versions from the RPM repositories at /srv/archive; runs in a chroot.
install -m644 /srv/archive/archive-key.asc /etc/pki/rpm-gpg/RPM-GPG-KEY-fleet
dnf="dnf -y -q --repofrompath=fleet,file:///srv/archive/v1 --setopt=gpgcheck=0"
$dnf install fleet-release "$@"
case " $* " in *" tb-held "*) $dnf versionlock add tb-held;; esac
dnf -q clean all
rm -rf /var/cache/dnf/* /var/log/tb-transactions /var/log/dnf* /var/log/hawkey.log
# A host of this family has no Debian tools that somebody could take it by.
rm -f /usr/bin/apt /usr/bin/apt-* /usr/bin/dpkg /usr/bin/dpkg-* /etc/debian_version
