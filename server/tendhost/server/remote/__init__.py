"""The way to a host: SSH, or this machine itself."""
