"""Tests of the command builders and parsers of package managers, on recorded output."""
