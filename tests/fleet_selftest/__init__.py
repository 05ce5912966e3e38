"""The tests of the fleet itself."""
