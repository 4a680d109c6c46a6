"""Sweeps: the runs that a command requests, checked before the first one starts."""
