# The name that openSUSE Leap gives a host.
mkdir -p /etc/zypp/repos.d
cat >/usr/lib/os-release <<'EOF'
NAME="openSUSE Leap"
VERSION="15.6"
ID="opensuse-leap"
ID_LIKE="suse opensuse"
VERSION_ID="15.6"
PRETTY_NAME="openSUSE Leap 15.6"
CPE_NAME="cpe:/o:opensuse:leap:15.6"
EOF
# Several versions of a kernel stay, as on openSUSE.
printf '[main]\nmultiversion = provides:multiversion(kernel)\n' >/etc/zypp/zypp.conf
