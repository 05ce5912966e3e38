"""Connections to others than hosts: notification services, webhooks, and commands of this machine."""
