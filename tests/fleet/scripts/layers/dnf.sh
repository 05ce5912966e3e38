# The settings and the name that Fedora gives a host; only that its repository is the lab's.
mkdir -p /etc/yum.repos.d /etc/pki/rpm-gpg
printf '[main]\ngpgcheck=True\ninstallonly_limit=3\nclean_requirements_on_remove=True\nbest=False\nskip_if_unavailable=True\n' >/etc/dnf/dnf.conf
printf '[main]\nenabled = false\n' >/etc/dnf/plugins/local.conf    # it wants to copy each package into a repository on the host
cat >/usr/lib/os-release <<'EOF'
NAME="Fedora Linux"
VERSION="40 (Server Edition)"
ID=fedora
VERSION_ID=40
VERSION_CODENAME=""
PLATFORM_ID="platform:f40"
PRETTY_NAME="Fedora Linux 40 (Server Edition)"
CPE_NAME="cpe:/o:fedoraproject:fedora:40"
VARIANT="Server Edition"
VARIANT_ID=server
EOF
