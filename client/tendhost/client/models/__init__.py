"""The values of the SDK, a file for each noun."""
