"""The calls of the SDK, a file for each noun."""
