"""What the command prints for people, a file for each noun."""
