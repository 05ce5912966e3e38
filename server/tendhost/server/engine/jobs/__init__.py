"""Jobs on hosts: begun once, by permission, and followed to their end."""
