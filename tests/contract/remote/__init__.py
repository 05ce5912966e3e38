"""What every way to a host does: SSH to a server of this process, SSH to a real sshd, and no SSH at all."""
