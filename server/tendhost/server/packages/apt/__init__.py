"""Debian and its descendants: apt-get and dpkg."""
