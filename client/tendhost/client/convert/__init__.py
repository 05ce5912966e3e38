"""Conversion between protobuf messages and the SDK's values, a file for each noun."""
