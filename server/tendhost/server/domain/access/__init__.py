"""Access: who calls, with which credential, and what a caller may do."""
