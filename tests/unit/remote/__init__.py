"""What is particular to one way to a host."""
