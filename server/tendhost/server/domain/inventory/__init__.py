"""What is on a host and pending for it, and what of that an update takes."""
