"""One run: which it is, its directory, and an attempt at it."""
