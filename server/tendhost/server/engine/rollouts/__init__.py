"""Rollouts: planned, started and carried out, a wave at a time."""
