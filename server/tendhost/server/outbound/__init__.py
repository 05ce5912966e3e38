"""The ways to others than hosts: messages to people, webhooks, and commands of this machine."""
