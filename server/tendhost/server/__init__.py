"""tendhostd: the server that keeps a fleet of hosts patched."""

import os

# gRPC reads it when it is imported. By default its core writes raw lines to stderr for each handshake that fails,
# such as that of a client in plain text; GRPC_VERBOSITY=INFO shows them.
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
