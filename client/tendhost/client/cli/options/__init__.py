"""Options that more than one command has, and what is made of what was typed."""
