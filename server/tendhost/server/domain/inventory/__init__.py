"""The inventory of a host, its pending updates, and the scope of an update."""
