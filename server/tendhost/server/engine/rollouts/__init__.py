"""Rollouts: planned, started, and carried out wave by wave."""
