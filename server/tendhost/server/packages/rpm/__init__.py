"""What dnf, yum and zypper share: the database, the locks and the messages of rpm."""
