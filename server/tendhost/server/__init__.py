"""tendhostd: the server that keeps a fleet of hosts patched."""
