# osquery has no package in Debian.
install -m755 /srv/archive/inside/osqueryi /usr/bin/osqueryi
