"""SSH as it meets the world: keys and agents, host keys of all sorts, names, links cut without a word."""
