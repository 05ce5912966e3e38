"""Rows and transactions: what tendhost remembers."""
