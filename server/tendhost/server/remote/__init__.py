"""Connections to hosts: by SSH, or to this machine itself."""
