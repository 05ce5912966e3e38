"""Hosts: their configuration and its changes, their states, and which of them a filter selects."""
