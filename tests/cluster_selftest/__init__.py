"""The tests of the database cluster itself."""
