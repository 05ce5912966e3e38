"""Docker compose: what a host's projects run, updating them, and what an update would change."""
