"""The steps of operations, one file for each, named after the step, and the code that they share."""
