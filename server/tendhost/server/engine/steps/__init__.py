"""The steps of operations: one file for each, named after it, and what they have in common."""
