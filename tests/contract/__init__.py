"""Suites that hold every implementation of a protocol to the same behaviour."""
