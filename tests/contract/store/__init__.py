"""What every store does, whichever database is behind it."""
