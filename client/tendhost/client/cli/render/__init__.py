"""Output for people, a file for each noun."""
