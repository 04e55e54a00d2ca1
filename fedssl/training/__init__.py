"""A client's local update: what it is told, what it does, and what it remembers."""
