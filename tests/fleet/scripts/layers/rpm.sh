# Debian's rpm keeps its database in the home of the user; on a host of this family it is where rpm has it.
mkdir -p /etc/rpm /var/lib/rpm
echo '%_dbpath /var/lib/rpm' >/etc/rpm/macros.fleet
# Debian's rpm warns whoever installs with it, as zypper does, that this host is a Debian.
mkdir -p /etc/popt.d
printf 'rpm alias -U --upgrade --force-debian\nrpm alias -e --erase --force-debian\n' >/etc/popt.d/fleet
