"""Reads from SQLite, a class for each noun as in `protocols`."""
