"""Tests of the scripts for docker compose and of their parsers, on recorded output."""
