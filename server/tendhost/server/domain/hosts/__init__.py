"""Hosts: their configuration and its changes, their states, and the filters that select them."""
