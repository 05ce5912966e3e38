"""Package managers as pure command builders and parsers."""
