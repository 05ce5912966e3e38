"""The tests of tendhost."""
