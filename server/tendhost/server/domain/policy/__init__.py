"""Policies of hosts: maintenance windows, freeze periods, health checks and hooks."""
