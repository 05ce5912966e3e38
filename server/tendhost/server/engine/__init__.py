"""Drives operations and rollouts: the only place that decides, does and saves."""
