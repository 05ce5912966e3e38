"""The fleet: which hosts there are, what holds for them, and what is told of all of them."""
