"""What owners say of their hosts: windows, freezes, health checks and hooks."""
