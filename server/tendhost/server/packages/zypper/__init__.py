"""SUSE Linux Enterprise and openSUSE: zypper and rpm."""
