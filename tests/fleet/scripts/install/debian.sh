# debian.sh PACKAGE… : install the first versions from the APT archive at /srv/archive; runs in a chroot.
list=/etc/apt/sources.list
. /etc/os-release
for suite in "$VERSION_CODENAME" "$VERSION_CODENAME-security"; do
  echo "deb [signed-by=/etc/apt/keyrings/fleet.asc] file:///srv/archive/v1 $suite main" >>$list
done
apt-get update -qq
[ $# = 0 ] || apt-get install -y -qq --no-install-recommends "$@"
case " $* " in *" tb-held "*) apt-mark hold tb-held;; esac
apt-get clean
rm -rf $list /var/lib/apt/lists/* /var/log/tb-transactions /var/log/apt/* /var/log/dpkg.log
