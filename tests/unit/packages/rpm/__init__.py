"""What dnf, yum and zypper have in common."""
