# Debian's rpm keeps its database in the home of the user; on a host of this family it is where rpm has it.
mkdir -p /etc/rpm /var/lib/rpm
echo '%_dbpath /var/lib/rpm' >/etc/rpm/macros.fleet
# The rpm of bookworm warns whoever installs with it, as zypper does, that this host is a Debian; that of trixie does not.
if rpm --force-debian --version >/dev/null 2>&1; then
  mkdir -p /etc/popt.d
  printf 'rpm alias -U --upgrade --force-debian\nrpm alias -e --erase --force-debian\n' >/etc/popt.d/fleet
fi
