"""What dnf, yum and zypper have in common, as they all change the database of rpm."""
