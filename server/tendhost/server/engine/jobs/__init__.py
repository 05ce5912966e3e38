"""Jobs on hosts: each starts once, by permission, and is followed to its end."""
