"""Fedora, Red Hat Enterprise Linux and their descendants: dnf 5, dnf 4, and yum 3."""
