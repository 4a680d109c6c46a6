"""Sweeps: the runs that a command asks for, checked before the first run starts."""
