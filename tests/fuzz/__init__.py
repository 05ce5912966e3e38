"""Fuzzing: whatever hosts, clients and administrators write is understood, or refused in our own words."""
