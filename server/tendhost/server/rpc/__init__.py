"""The gRPC face of the server: decode, one call, encode."""
