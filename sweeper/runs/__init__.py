"""A run: its identity, its directory, the decision about it, and an attempt at it."""
