"""Package managers: builders of commands and parsers of their output, without I/O."""
