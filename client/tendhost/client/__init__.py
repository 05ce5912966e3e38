"""The Python SDK and the `tendhost` command: everything a user of a tendhost server needs."""
