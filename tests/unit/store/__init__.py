"""What is particular to the store on SQLite: its file, its writer, its memory of the newest events."""
